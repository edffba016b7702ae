import t from 'tap';

import { EtcdClient } from '../../src/store/etcd/client.ts';
import { EtcdCluster } from '../lib/etcd-server.ts';
import { skipUnlessInstalled } from '../lib/requirements.ts';

const skip = skipUnlessInstalled('etcd', 'etcdctl');
if (skip !== false) {
  t.plan(0, skip);
  process.exit(0);
}
const etcd = await EtcdCluster.start();
const kv = new EtcdClient({ endpoints: etcd.endpoints });
t.teardown(async () => {
  await kv.close();
  await etcd.close();
});

t.test('a range is what etcdctl has put, under the prefix only', async (t) => {
  await etcd.ctl(['put', '/range/a', '1']);
  await etcd.ctl(['put', '/range/é', 'ü\n']);
  await etcd.ctl(['put', '/ranges', 'not below']);
  const { kvs, revision } = await kv.range({ prefix: '/range/' });
  t.strictSame(
    kvs.map(({ key, value }) => [key, value]),
    [
      ['/range/a', '1'],
      ['/range/é', 'ü\n'],
    ],
  );
  const [first, second] = kvs;
  t.equal(first?.modRevision, first?.createRevision);
  t.ok((second?.modRevision ?? 0n) < revision);
  t.strictSame(
    (await kv.range({ key: '/ranges' })).kvs.map(({ value }) => value),
    ['not below'],
  );
  t.strictSame((await kv.range({ key: '/range' })).kvs, [], 'a key is no prefix');
});

t.test('a key is created once, by its revision being 0', async (t) => {
  const create = (value: string) =>
    kv.txn({
      compare: [{ key: '/once', modRevision: 0n }],
      success: [{ kind: 'put', key: '/once', value }],
      failure: [{ kind: 'range', prefix: '/once' }],
    });
  const first = await create('mine');
  t.strictSame([first.succeeded, first.kvs], [true, []]);
  const second = await create('yours');
  t.equal(second.succeeded, false);
  t.strictSame(
    second.kvs.map(({ value, modRevision }) => [value, modRevision]),
    [['mine', first.revision]],
  );
});

t.test('a key is replaced and deleted by the revision it was read at', async (t) => {
  await etcd.ctl(['put', '/cas', '1']);
  const { kvs } = await kv.range({ key: '/cas' });
  const [{ modRevision } = { modRevision: 0n }] = kvs;
  const compare = [{ key: '/cas', modRevision }];
  t.ok((await kv.txn({ compare, success: [{ kind: 'put', key: '/cas', value: '2' }] })).succeeded);
  t.notOk((await kv.txn({ compare, success: [{ kind: 'delete', key: '/cas' }] })).succeeded);
  t.equal(await etcd.ctl(['get', '/cas', '--print-value-only']), '2\n');
  const now = [{ key: '/cas', modRevision: (await kv.range({ key: '/cas' })).kvs[0]?.modRevision ?? 0n }];
  t.ok((await kv.txn({ compare: now, success: [{ kind: 'delete', key: '/cas' }] })).succeeded);
  t.equal(await etcd.ctl(['get', '/cas']), '');
});

t.test('a range that nobody has touched since', async (t) => {
  const unchanged = async (unchangedSince: bigint): Promise<boolean> =>
    (await kv.txn({ compare: [{ prefix: '/guard/', unchangedSince }], success: [] })).succeeded;
  const { revision } = await kv.range({ prefix: '/guard/' });
  t.ok(await unchanged(revision), 'also while it is empty');
  await etcd.ctl(['put', '/guard', 'beside it']);
  t.ok(await unchanged(revision));
  await etcd.ctl(['put', '/guard/a', '1']);
  t.notOk(await unchanged(revision), 'a key was created');
  const after = await kv.range({ prefix: '/guard/' });
  t.ok(await unchanged(after.revision));
  t.notOk(await unchanged(after.revision - 1n), 'the revision itself is included, the one before not');
  await etcd.ctl(['put', '/guard/a', '2']);
  t.notOk(await unchanged(after.revision), 'a key was changed');
});

t.test('a transaction of several ranges gives their keys one after the other', async (t) => {
  await etcd.ctl(['put', '/two/b/1', 'b']);
  await etcd.ctl(['put', '/two/a/1', 'a']);
  const { kvs } = await kv.txn({
    compare: [],
    success: [
      { kind: 'range', prefix: '/two/b/' },
      { kind: 'range', prefix: '/two/a/' },
    ],
  });
  t.strictSame(
    kvs.map(({ value }) => value),
    ['b', 'a'],
  );
});

t.test('a lease carries keys, and takes them along when it is revoked', async (t) => {
  const lease = await kv.grant(100);
  t.match(await etcd.ctl(['lease', 'list']), lease.toString(16));
  await kv.txn({ compare: [], success: [{ kind: 'put', key: '/leased', value: '1', lease }] });
  t.equal((await kv.range({ key: '/leased' })).kvs[0]?.lease, lease);
  const left = await kv.timeToLive(lease);
  t.ok(left !== undefined && left > 0 && left <= 100, `${left ?? 'no'} seconds are left`);
  await kv.revoke(lease);
  t.strictSame((await kv.range({ key: '/leased' })).kvs, []);
  t.equal(await kv.timeToLive(lease), undefined);
  await t.resolves(kv.revoke(lease), 'what is gone is revoked');
});

t.test('a key that does not expire has lease 0', async (t) => {
  await etcd.ctl(['put', '/for-ever', '1']);
  t.equal((await kv.range({ key: '/for-ever' })).kvs[0]?.lease, 0n);
});

t.test('bytes that are no text do no harm', async (t) => {
  await etcd.ctl(['put', '/bytes/\xff'], Buffer.from([0xff, 0xfe]).toString('latin1'));
  await etcd.ctl(['put', '/bytes/z', 'fine']);
  const { kvs } = await kv.range({ prefix: '/bytes/' });
  t.equal(kvs.length, 2);
  t.ok(kvs.some(({ value }) => value === 'fine'));
});

t.test('what etcd refuses is said, with a remedy, and not tried again elsewhere', async (t) => {
  await t.rejects(kv.txn({ compare: [], success: [{ kind: 'put', key: '/x', value: '1', lease: 4711n }] }), {
    code: 'STORE_REFUSED',
    message: 'etcd refused: requested lease not found',
  });
  const value = 'x'.repeat(1_800_000);
  await t.rejects(kv.txn({ compare: [], success: [{ kind: 'put', key: '/x', value }] }), {
    code: 'STORE_REFUSED',
    message: 'etcd refused: request is too large',
    remedy: 'raise --max-request-bytes of etcd',
  });
});

t.test('a store that is full refuses', async (t) => {
  const full = await EtcdCluster.start({ args: ['--quota-backend-bytes=200000'] });
  const client = new EtcdClient({ endpoints: full.endpoints });
  t.teardown(async () => {
    await client.close();
    await full.close();
  });
  const value = 'x'.repeat(100_000);
  const fill = async (): Promise<never> => {
    for (let i = 0; ; i++) await client.txn({ compare: [], success: [{ kind: 'put', key: `/${i}`, value }] });
  };
  await t.rejects(fill(), { code: 'STORE_REFUSED', remedy: /etcdctl alarm disarm/ });
});

t.test('an aborted call rejects with the reason, before and while', async (t) => {
  const reason = new Error('enough');
  await t.rejects(kv.range({ prefix: '/' }, AbortSignal.abort(reason)), reason);
  await etcd.first.pause();
  t.teardown(() => {
    etcd.first.continue();
  });
  const stop = new AbortController();
  const calls = Array.from({ length: 20 }, () => kv.range({ prefix: '/' }, stop.signal));
  stop.abort(reason);
  for (const call of calls) await t.rejects(call, reason);
});

t.test('after close: STORE_CLOSED, also for what was under way', async (t) => {
  const client = new EtcdClient({ endpoints: etcd.endpoints });
  await client.range({ prefix: '/' });
  await etcd.first.pause();
  t.teardown(() => {
    etcd.first.continue();
  });
  const call = client.range({ prefix: '/' });
  const watch = client.watch('/', 1n, new AbortController().signal)[Symbol.asyncIterator]().next();
  await client.close();
  await t.rejects(call, { code: 'STORE_CLOSED' });
  t.match(await watch, { done: true });
  await t.rejects(client.grant(10), { code: 'STORE_CLOSED' });
});
