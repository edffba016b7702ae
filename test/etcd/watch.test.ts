import t, { type Test } from 'tap';

import { Background } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import { EtcdClient } from '../../src/store/etcd/client.ts';
import type { EtcdTiming } from '../../src/store/etcd/options.ts';
import { EtcdCluster, freePorts } from '../lib/etcd-server.ts';
import { Watched } from '../lib/etcd-watched.ts';
import { testProgram } from '../lib/program.ts';
import { skipUnlessInstalled } from '../lib/requirements.ts';
import { TcpProxy } from '../lib/tcp-proxy.ts';

const skip = skipUnlessInstalled('etcd', 'etcdctl');
if (skip !== false) {
  t.plan(0, skip);
  process.exit(0);
}

const quick: Partial<EtcdTiming> = { attempt: 500, probe: 300, silence: 700, backoffTo: 500 };

/** A watch of everything below / through a proxy, from now on, that stands. */
async function watchThroughProxy(
  t: Test,
  options: { readonly direct?: boolean; readonly timing?: Partial<EtcdTiming> } = {},
) {
  const etcd = await EtcdCluster.start();
  const proxy = await TcpProxy.open(etcd.first.port);
  const endpoints = [`http://127.0.0.1:${proxy.port}`, ...(options.direct === true ? etcd.endpoints : [])];
  const kv = new EtcdClient({ endpoints, timing: options.timing ?? quick });
  await etcd.ctl(['put', '/known', '1']);
  const { revision } = await kv.range({ prefix: '/' });
  const watched = new Watched(kv, '/', revision + 1n);
  t.teardown(async () => {
    watched.stop.abort();
    await kv.close();
    await proxy.close();
    await etcd.close();
  });
  t.equal(await watched.next(), 'connected');
  const put = (key: string, value = '1') => etcd.ctl(['put', key, value]);
  return { etcd, proxy, kv, watched, put };
}

t.test('puts and deletes below the prefix, in order, from the revision on', async (t) => {
  const { etcd, kv, watched, put } = await watchThroughProxy(t);
  await put('/a');
  await put('/a', '2');
  await put('beside');
  await etcd.ctl(['del', '/a']);
  t.match(await watched.message(), {
    kind: 'events',
    revision: 3n,
    events: [{ kind: 'put', kv: { key: '/a', value: '1' } }],
  });
  t.equal(await watched.next(), '/a=2');
  t.match(await watched.message(), {
    revision: 6n,
    events: [{ kind: 'delete', key: '/a', modRevision: 6n }],
  });

  const again = new Watched(kv, '/', 4n);
  t.teardown(() => {
    again.stop.abort();
  });
  t.equal(await again.next(), 'connected');
  t.equal(await again.next(), '/a=2 -/a', 'history, from the revision asked for');
});

t.test('what is written in one transaction is one message', async (t) => {
  const { kv, watched } = await watchThroughProxy(t);
  const keys = ['/t/1', '/t/2', '/t/3'];
  await kv.txn({ compare: [], success: keys.map((key) => ({ kind: 'put', key, value: 'x' })) });
  t.equal(await watched.next(), '/t/1=x /t/2=x /t/3=x');
});

t.test('nothing is lost or told twice over a cut', async (t) => {
  const { proxy, watched, put } = await watchThroughProxy(t);
  await put('/a');
  t.equal(await watched.next(), '/a=1');
  await proxy.refuse();
  await put('/b');
  await put('/c');
  t.equal(await watched.next(), 'lost STORE_UNREACHABLE', 'once it was tried everywhere');
  await proxy.accept();
  t.equal(await watched.next(), 'connected');
  t.equal(await watched.next(), '/b=1 /c=1');
  await put('/d');
  t.equal(await watched.next(), '/d=1');
});

t.test('while etcd is away it is tried now and then', async (t) => {
  const [dead = 0] = await freePorts(1);
  const proxy = await TcpProxy.open(dead);
  const kv = new EtcdClient({ endpoints: [`http://127.0.0.1:${proxy.port}`] });
  const watched = new Watched(kv, '/', 1n);
  t.teardown(async () => {
    watched.stop.abort();
    await kv.close();
    await proxy.close();
  });
  t.equal(await watched.next(), 'lost STORE_UNREACHABLE');
  const next = watched.next();
  await new Promise((resolve) => setTimeout(resolve, 3000));
  t.ok(proxy.accepted >= 3 && proxy.accepted <= 8, `${proxy.accepted} connections in the first seconds`);
  watched.stop.abort();
  t.equal(await next, 'end');
});

t.test('a stream that went silent is noticed, and left for another endpoint', async (t) => {
  const { proxy, watched, put } = await watchThroughProxy(t, { direct: true });
  proxy.blackHole();
  await put('/behind');
  t.strictSame(await watched.until('/behind=1'), ['connected', '/behind=1']);
});

t.test('a quiet stream stands as long as it is answered', async (t) => {
  const { proxy, watched, put } = await watchThroughProxy(t, { direct: true });
  const next = watched.next();
  await new Promise((resolve) => setTimeout(resolve, 3000));
  await put('/after');
  t.equal(await next, '/after=1', 'no second connected in four times the silence');
  t.equal(proxy.accepted, 1);
});

t.test('a reader who is slow loses nothing', async (t) => {
  const { watched, put } = await watchThroughProxy(t);
  await put('/a');
  await put('/b');
  await new Promise((resolve) => setTimeout(resolve, 2000));
  t.equal(await watched.next(), '/a=1');
  t.equal(
    await watched.next(),
    '/b=1',
    'nor is the silence of a store that was not listened to taken for a failure',
  );
});

t.test('history that was compacted away during a cut is told, and ends the watch', async (t) => {
  const { etcd, proxy, watched, put } = await watchThroughProxy(t);
  await proxy.refuse();
  await put('/a');
  await put('/b');
  await put('/known', '2');
  const { revision } = await etcd.first.status();
  await etcd.ctl(['compact', String(revision)]);
  await proxy.accept();
  t.equal((await watched.until('compacted')).at(-1), 'compacted');
  t.equal(await watched.next(), 'end');
});

t.test('from a revision that is compacted already', async (t) => {
  const { etcd, kv, put } = await watchThroughProxy(t);
  await put('/a');
  await put('/b');
  await etcd.ctl(['compact', '4']);
  const watched = new Watched(kv, '/', 1n);
  t.equal(await watched.next(), 'connected');
  t.strictSame(await watched.message(), { kind: 'compacted', compactRevision: 4n });
  t.equal(await watched.next(), 'end');
});

t.test('a compaction that keeps what comes next is none of our business', async (t) => {
  const { etcd, proxy, watched, put } = await watchThroughProxy(t);
  await put('/a');
  t.equal(await watched.next(), '/a=1');
  await proxy.refuse();
  await etcd.ctl(['compact', '3']);
  await put('/b');
  await proxy.accept();
  t.equal((await watched.until('/b=1')).includes('compacted'), false);
});

t.test('a store that was wiped is another one', async (t) => {
  await t.test('also when it is already further than the old one was', async (t) => {
    const { etcd, proxy, watched, put } = await watchThroughProxy(t);
    await proxy.refuse();
    await etcd.first.stop();
    etcd.first.wipe();
    await etcd.first.start();
    for (const key of ['/w', '/x', '/y', '/z']) await put(key);
    await proxy.accept();
    t.equal((await watched.until('compacted')).at(-1), 'compacted');
  });
  await t.test('and when it is behind', async (t) => {
    const { etcd, watched } = await watchThroughProxy(t);
    await etcd.first.stop('SIGKILL');
    etcd.first.wipe();
    await etcd.first.start();
    t.equal((await watched.until('compacted')).at(-1), 'compacted');
  });
});

t.test('etcd restarts on its data: the watch goes on', async (t) => {
  const { etcd, watched, put } = await watchThroughProxy(t);
  await put('/a');
  t.equal(await watched.next(), '/a=1');
  await etcd.first.restart('SIGKILL');
  await put('/b');
  t.equal((await watched.until('/b=1')).includes('compacted'), false);
});

t.test('history that etcd has to send in pieces arrives whole, no revision in two parts', async (t) => {
  const { etcd, kv } = await watchThroughProxy(t);
  // Each transaction is half of what etcd sends in one message (its request limit), and so are ten of them five.
  const value = 'v'.repeat(100_000);
  const from = BigInt((await etcd.first.status()).revision) + 1n;
  for (let i = 0; i < 10; i++) {
    const success = Array.from(
      { length: 7 },
      (_, j) => ({ kind: 'put', key: `/big/${i}/${j}`, value }) as const,
    );
    await kv.txn({ compare: [], success });
  }
  const watched = new Watched(kv, '/big/', from);
  t.teardown(() => {
    watched.stop.abort();
  });
  t.equal(await watched.next(), 'connected');
  const keys: string[] = [];
  const revisions: bigint[][] = [];
  let messages = 0;
  while (keys.length < 70) {
    const message = await watched.message();
    if (message?.kind !== 'events') throw new Error(`not events: ${message?.kind ?? 'end'}`);
    messages++;
    const puts = message.events.flatMap((event) => (event.kind === 'put' ? [event.kv] : []));
    keys.push(...puts.map(({ key }) => key));
    revisions.push([...new Set(puts.map(({ modRevision }) => modRevision))]);
    t.equal(message.revision, puts.at(-1)?.modRevision);
  }
  t.strictSame(
    keys,
    Array.from({ length: 70 }, (_, i) => `/big/${Math.floor(i / 7)}/${i % 7}`),
  );
  t.equal(revisions.flat().length, 10, `ten revisions, each in one of ${messages} messages`);
});

t.test('three members: the watch follows through a stopped member and a dead leader', async (t) => {
  const cluster = await EtcdCluster.start({ members: 3 });
  const kv = new EtcdClient({ endpoints: cluster.endpoints, timing: quick });
  const { revision } = await kv.range({ prefix: '/' });
  const watched = new Watched(kv, '/', revision + 1n);
  t.teardown(async () => {
    watched.stop.abort();
    await kv.close();
    await cluster.close();
  });
  t.equal(await watched.next(), 'connected');
  const other = cluster.members[1];
  /** Until there is a leader again, etcd takes no write. */
  const put = (key: string) =>
    awaitCondition(`a leader that takes ${key}`, () =>
      other?.ctl(['put', key, '1', '--command-timeout=1s']).catch(() => false as const),
    );
  await cluster.first.pause();
  await put('/paused');
  t.equal((await watched.until('/paused=1')).at(-1), '/paused=1');
  cluster.first.continue();
  const leader = await cluster.leader();
  await leader.stop('SIGKILL');
  if (leader === other) await leader.start();
  await put('/killed');
  t.equal((await watched.until('/killed=1')).at(-1), '/killed=1');
});

t.test('an aborted watch leaves nothing that keeps the process, even on a silent connection', async (t) => {
  const etcd = await EtcdCluster.start();
  const proxy = await TcpProxy.open(etcd.first.port);
  const program = Background.start([...testProgram('etcd-watcher-main'), `http://127.0.0.1:${proxy.port}`]);
  t.teardown(async () => {
    program.kill('SIGKILL');
    await program.exited;
    await proxy.close();
    await etcd.close();
  });
  await awaitCondition('the watch', () => program.stdout.includes('connected'), { timeoutMs: 30_000 });
  proxy.blackHole();
  program.close();
  t.equal(await program.exited, 0, program.stderr);
  t.equal(program.stdout, 'connected\nend\n');
});
