// Writes leases into etcd when told, and says when: the program behind writer.ts, which runs where etcd is.
//
//   writer-main ENDPOINT...
//   {"what":"put","from":0,"count":1000}   leases 0 to 999, as many in a transaction as etcd takes, all at once
//   {"what":"delete","from":0,"count":1000}
//
// Each line is answered by one: {"sent":T,"done":T}, before the first was sent and after the last was answered, in
// milliseconds since 1970.

import { createInterface } from 'node:readline';
import { EtcdClient } from '../../src/store/etcd/client.ts';
import type { Operation } from '../../src/store/etcd/kv.ts';
import { config, leaseOf, prefix } from './leases.ts';
import type { Order } from './writer.ts';

/** etcd's --max-txn-ops. */
const largestTxn = 128;
const now = (): number => performance.timeOrigin + performance.now();

const kv = new EtcdClient({ endpoints: process.argv.slice(2) });

function operation(what: Order['what'], index: number): Operation {
  const { key, value } = leaseOf(index);
  return what === 'put' ? { kind: 'put', key, value } : { kind: 'delete', key };
}

async function carryOut({ what, from, count }: Order): Promise<{ sent: number; done: number }> {
  const operations = Array.from({ length: count }, (_, i) => operation(what, from + i));
  const batches = Array.from({ length: Math.ceil(count / largestTxn) }, (_, i) =>
    operations.slice(i * largestTxn, (i + 1) * largestTxn),
  );
  const sent = now();
  await Promise.all(batches.map((success) => kv.txn({ compare: [], success })));
  return { sent, done: now() };
}

await kv.txn({ compare: [], success: [{ kind: 'put', key: `${prefix}config`, value: config }] });
process.stdout.write('ready\n');
for await (const line of createInterface(process.stdin)) {
  process.stdout.write(`${JSON.stringify(await carryOut(JSON.parse(line) as Order))}\n`);
}
await kv.close();
