import t, { type Test } from 'tap';

import { EtcdClient } from '../../src/store/etcd/client.ts';
import type { EtcdOptions } from '../../src/store/etcd/options.ts';
import { EtcdCluster, freePorts } from '../lib/etcd-server.ts';
import { skipUnlessInstalled } from '../lib/requirements.ts';
import { TcpProxy } from '../lib/tcp-proxy.ts';

const skip = skipUnlessInstalled('etcd', 'etcdctl');
if (skip !== false) {
  t.plan(0, skip);
  process.exit(0);
}
const etcd = await EtcdCluster.start();
t.teardown(() => etcd.close());

function open(t: Test, options: EtcdOptions): EtcdClient {
  const kv = new EtcdClient(options);
  t.teardown(() => kv.close());
  return kv;
}

async function openProxy(t: Test, target = etcd.first.port): Promise<TcpProxy> {
  const proxy = await TcpProxy.open(target);
  t.teardown(() => proxy.close());
  return proxy;
}

const put = (key: string, value = '1') => ({
  compare: [{ key, modRevision: 0n }],
  success: [{ kind: 'put', key, value } as const],
});

t.test('endpoints that refuse or do not exist are passed over, for reads and writes', async (t) => {
  const [dead = 0] = await freePorts(1);
  const endpoints = [`http://127.0.0.1:${dead}`, 'http://no-such-host.invalid:2379', ...etcd.endpoints];
  t.ok((await open(t, { endpoints }).range({ prefix: '/' })).revision > 0n);
  t.ok((await open(t, { endpoints }).txn(put('/past-the-dead'))).succeeded);
  t.ok((await open(t, { endpoints }).grant(10)) > 0n);
});

t.test('an endpoint that swallows everything costs one attempt, and is not asked first again', async (t) => {
  const proxy = await openProxy(t);
  proxy.blackHole();
  const endpoints = [`http://127.0.0.1:${proxy.port}`, ...etcd.endpoints];
  const kv = open(t, { endpoints, timing: { attempt: 500 } });
  t.ok((await kv.txn(put('/past-the-hole'))).succeeded, 'a write, which is not sent into the hole');
  t.equal(proxy.accepted, 1);
  for (let i = 0; i < 5; i++) await kv.range({ prefix: '/' });
  t.equal(proxy.accepted, 1);
});

t.test('a connection that went silent is given up for a new one', async (t) => {
  const proxy = await openProxy(t);
  const kv = open(t, { endpoints: [`http://127.0.0.1:${proxy.port}`], timing: { attempt: 500 } });
  await kv.range({ prefix: '/' });
  proxy.blackHole();
  const read = kv.range({ prefix: '/' });
  await t.rejects(
    open(t, { endpoints: [`http://127.0.0.1:${proxy.port}`], timing: { call: 800, attempt: 300 } }).range({
      prefix: '/',
    }),
    {
      code: 'STORE_UNREACHABLE',
      message: /^etcd at http:\/\/127\.0\.0\.1:[0-9]+ \(no answer within 0\.[0-9] s\) does not answer$/,
    },
  );
  proxy.heal();
  t.ok((await read).revision > 0n, 'and the read that met the silence has its answer');
});

t.test('a write whose answer is lost is uncertain, was sent once, and says so', async (t) => {
  const proxy = await openProxy(t);
  const endpoints = [`http://127.0.0.1:${proxy.port}`, ...etcd.endpoints];
  const kv = open(t, { endpoints, timing: { call: 1500 } });
  await kv.range({ prefix: '/' });
  proxy.loseAnswers();
  await t.rejects(kv.txn({ compare: [], success: [{ kind: 'put', key: '/uncertain', value: '1' }] }), {
    code: 'STORE_UNCERTAIN',
    remedy: 'read what is there before writing again',
  });
  t.match(await etcd.ctl(['get', '/uncertain', '-w', 'json']), /"version":1\b/);
  t.equal((await kv.range({ key: '/uncertain' })).kvs.length, 1, 'reading it goes elsewhere');
});

t.test('a write on a connection that is cut is uncertain too; a grant and a read are repeated', async (t) => {
  const proxy = await openProxy(t);
  const kv = open(t, { endpoints: [`http://127.0.0.1:${proxy.port}`] });
  const losing = async <T>(work: () => Promise<T>): Promise<T> => {
    await kv.range({ prefix: '/' });
    proxy.loseAnswers();
    const done = work();
    done.catch(() => undefined);
    // Cut when etcd has done it.
    const { revision } = await etcd.first.status();
    await etcd.ctl(['put', '/tick', String(revision)]);
    proxy.cut();
    return done;
  };
  await t.rejects(
    losing(() => kv.txn(put('/cut'))),
    { code: 'STORE_UNCERTAIN' },
  );
  const lease = await losing(() => kv.grant(100));
  t.ok((await kv.timeToLive(lease)) !== undefined);
  const leases = (await etcd.ctl(['lease', 'list']))
    .split('\n')
    .filter((line) => line.includes(lease.toString(16)));
  t.equal(leases.length, 1, 'granted once');
  t.ok((await losing(() => kv.range({ prefix: '/' }))).revision > 0n);
});

t.test('nobody answers: one error names each endpoint and why, and nothing spins', async (t) => {
  const [dead = 0] = await freePorts(1);
  const proxy = await openProxy(t, dead);
  const endpoints = [`http://127.0.0.1:${dead}`, `http://127.0.0.1:${proxy.port}`];
  const kv = open(t, { endpoints, timing: { call: 2000 } });
  await t.rejects(kv.range({ prefix: '/' }), {
    code: 'STORE_UNREACHABLE',
    message: new RegExp(
      `^no endpoint of etcd answers: http://127.0.0.1:${dead} \\(connection refused\\), http://127.0.0.1:${proxy.port} \\(.+\\)$`,
    ),
  });
  t.ok(proxy.accepted >= 2, 'it is tried again');
  t.ok(proxy.accepted <= 8, `with pauses: ${proxy.accepted} connections in two seconds`);
  const before = proxy.accepted;
  await t.rejects(
    kv.txn(put('/never')),
    { code: 'STORE_UNREACHABLE' },
    'a write that was never sent is not uncertain',
  );
  t.ok(proxy.accepted > before);
});

t.test('three members', async (t) => {
  const cluster = await EtcdCluster.start({ members: 3 });
  t.teardown(() => cluster.close());
  const { endpoints } = cluster;

  await t.test('a member that is stopped in its tracks', async (t) => {
    const kv = open(t, { endpoints, timing: { attempt: 500 } });
    await kv.range({ prefix: '/' });
    await cluster.first.pause();
    t.teardown(() => {
      cluster.first.continue();
    });
    t.ok((await kv.range({ prefix: '/' })).revision > 0n);
    const fresh = open(t, { endpoints, timing: { attempt: 500 } });
    t.ok((await fresh.txn(put('/paused'))).succeeded);
  });

  await t.test('the leader is killed', async (t) => {
    const leader = await cluster.leader();
    const kv = open(t, {
      endpoints: [leader.endpoint, ...endpoints.filter((other) => other !== leader.endpoint)],
    });
    t.ok((await kv.txn(put('/killed', 'before'))).succeeded);
    await leader.stop('SIGKILL');
    t.strictSame(
      (await kv.range({ key: '/killed' })).kvs.map(({ value }) => value),
      ['before'],
    );
    t.ok((await kv.txn(put('/killed-after'))).succeeded);
    await leader.start();
  });

  await t.test('a member without the others says so, and one with a majority is found', async (t) => {
    const [alone, ...others] = cluster.members;
    if (alone === undefined) return;
    await Promise.all(others.map((member) => member.stop('SIGKILL')));
    const kv = open(t, { endpoints: [alone.endpoint], timing: { call: 3000 } });
    await t.rejects(kv.txn(put('/alone')), { code: /^STORE_(UNREACHABLE|UNCERTAIN)$/ });
    await Promise.all(others.map((member) => member.start()));
    t.ok((await open(t, { endpoints }).txn(put('/together'))).succeeded);
  });
});
