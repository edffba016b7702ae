// A program that watches below / at the endpoint given and prints what comes. When its input ends it aborts the watch
// and closes the client, and then ends by itself, because nothing keeps it.

import { EtcdClient } from '../../src/store/etcd/client.ts';
import { Watched } from './etcd-watched.ts';

const kv = new EtcdClient({ endpoints: process.argv.slice(2) });
const watched = new Watched(kv, '/', 1n);
process.stdin
  .on('data', () => undefined)
  .on('end', () => {
    watched.stop.abort();
  });
let message = await watched.next();
for (; message !== 'end'; message = await watched.next()) process.stdout.write(`${message}\n`);
await kv.close();
process.stdout.write(`${message}\n`);
