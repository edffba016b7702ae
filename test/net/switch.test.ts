// `kersey dataplane` on a host among others: it changes over while traffic runs, and nobody but the traffic notices.

import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';

import { awaitCondition } from '../../src/lab/condition.ts';
import type { RunResult } from '../../src/lab/command.ts';
import type { Host } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { ping } from '../../src/lab/measure.ts';
import type { Status } from '../../src/observe/status.ts';
import { Daemon, kersey } from '../lib/daemon.ts';
import {
  kernelVxlanMissing,
  skipUnlessInstalled,
  skipUnlessRoot,
  skipUnlessTun,
} from '../lib/requirements.ts';
import { SteadyPing } from '../lib/steady-ping.ts';
import { SteadyStream } from '../lib/steady-stream.ts';

const skip = skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('iperf3', 'ping');
const missing = skip === false ? await kernelVxlanMissing() : undefined;
const without = skip || (missing !== undefined && `no kernel vxlan: ${missing}`);

interface World {
  readonly lab: Lab;
  readonly store: string;
  readonly start: (name: string, ...more: readonly string[]) => Daemon;
}

async function world(t: Test, hosts: readonly string[], backend: object = {}): Promise<World> {
  const lab = await Lab.open({ hosts });
  t.teardown(() => lab.close());
  const store = path.join(lab.directory, 'network.json');
  const config = { Network: '10.5.0.0/16', Backend: { Type: 'vxlan', ...backend } };
  writeFileSync(store, JSON.stringify({ config, leases: {} }));
  const start = (name: string, ...more: readonly string[]): Daemon =>
    new Daemon(lab.host(name), store, path.join(lab.directory, name), ['--iface', 'eth0', ...more]);
  return { lab, store, start };
}

async function started(w: World, modes: Readonly<Record<string, string>>): Promise<readonly Daemon[]> {
  const daemons = Object.entries(modes).map(([name, mode]) => w.start(name, '--dataplane', mode));
  await Promise.all(
    daemons.map((daemon) =>
      daemon.until('knows the others', ({ overlays }) =>
        overlays.every(({ peers }) => peers.length === daemons.length - 1),
      ),
    ),
  );
  return daemons;
}

function changeOver(daemon: Daemon, ...words: readonly string[]): Promise<RunResult> {
  const argv = [...kersey, 'dataplane', ...words, '--run-dir', daemon.runDir];
  return daemon.host.exec(argv, { anyExit: true });
}

/** What a host knows of its peers, as `ip` and `bridge` print it. */
async function tablesOf(host: Host): Promise<string> {
  const commands = ['ip route show dev', 'ip neigh show dev', 'bridge fdb show dev'];
  const texts = await Promise.all(
    commands.map(async (command) => (await host.exec([...command.split(' '), 'flannel.1'])).stdout),
  );
  return texts.map((text) => text.split('\n').sort().join('\n')).join('\n');
}

async function deviceKind(host: Host): Promise<string | undefined> {
  const [link] = await host.ipJson<{ linkinfo?: { info_kind?: string } }[]>(
    '-d',
    'link',
    'show',
    'flannel.1',
  );
  return link?.linkinfo?.info_kind;
}

async function reaches(t: Test, from: Host, to: string, what: string): Promise<void> {
  await awaitCondition(what, async () => (await ping(from, to, { count: 1 })).received === 1, {
    timeoutMs: 15_000,
  });
  t.pass(what);
}

const kinds = { engine: 'tun', kernel: 'vxlan' } as const;

t.test('changed over while TCP and pings run', { skip: without }, async (t) => {
  const w = await world(t, ['h1', 'h2', 'h3']);
  const daemons = await started(w, { h1: 'engine', h2: 'kernel', h3: 'engine' });
  const [d1, d2, d3] = daemons;
  if (d1 === undefined || d2 === undefined || d3 === undefined) throw new Error('three daemons');
  const [a1 = '', a2 = '', a3 = ''] = await Promise.all(daemons.map((daemon) => daemon.address()));
  const [h1, h2, h3] = [d1.host, d2.host, d3.host];
  const before = { tables1: await tablesOf(h1), tables2: await tablesOf(h2), tables3: await d3.ready() };
  const stored = readFileSync(w.store, 'utf8');
  const pings = await Promise.all([
    SteadyPing.start(h1, a3),
    SteadyPing.start(h2, a3),
    SteadyPing.start(h3, a1),
    SteadyPing.start(h3, a2),
  ]);
  const streams = await Promise.all([SteadyStream.start(h1, h3, a3), SteadyStream.start(h3, h2, a2)]);

  for (const wish of ['kernel', 'engine', 'auto', 'kernel', 'engine'] as const) {
    const mode = wish === 'engine' ? 'engine' : 'kernel';
    const done = await changeOver(d3, wish);
    t.equal(done.exitCode, 0, done.stderr);
    t.match(done.stdout, mode, `${wish}: says who carries the packets: ${done.stdout.trim()}`);
    for (const each of [...pings, ...streams]) await each.next();
    t.equal(await deviceKind(h3), kinds[mode], `${wish}: the device`);
    const status = await d3.until('is well', ({ state }) => state === 'ok');
    t.match(status, {
      dataplane: { mode, wish },
      overlays: [{ kind: kinds[mode] === 'tun' ? 'engine' : 'vxlan' }],
    });
    t.match(
      status.dataplane.why,
      wish === 'auto' ? 'this kernel makes vxlan devices' : `--dataplane ${wish}`,
    );
    t.same(identity(status), identity(before.tables3), `${wish}: lease, VtepMAC and MTU stay`);
    t.equal(status.overlays[0]?.peers.length, 2, `${wish}: the peers stay`);
  }
  for (const stream of streams) await stream.next();
  t.pass('no TCP connection broke');
  const gaps = pings.map((each) => each.longestGap());
  t.pass(`no answer for at most ${gaps.join(', ')} ms (h1 -> h3, h2 -> h3, h3 -> h1, h3 -> h2)`);
  await Promise.all(streams.map((each) => each.stop()));
  await Promise.all(pings.map((each) => each.stop()));
  t.equal(readFileSync(w.store, 'utf8'), stored, 'the store was not written');
  t.equal(await tablesOf(h1), before.tables1, "h1's tables");
  t.equal(await tablesOf(h2), before.tables2, "h2's tables");
  const total = (status: Status | undefined): number =>
    Object.values(status?.repairs ?? {}).reduce((sum, n) => sum + n, 0);
  t.equal(total(await d3.status()), 0, 'to change over is no repair');
});

function identity({ lease, overlays }: Status): object {
  const { subnet, publicIP } = lease;
  return {
    subnet,
    publicIP,
    of: overlays.map(({ vtepMac, mtu, address, port, vni }) => ({ vtepMac, mtu, address, port, vni })),
  };
}

t.test('what cannot be had is refused', { skip: without }, async (t) => {
  const w = await world(t, ['h1', 'h2']);
  const [d1, d2] = await started(w, { h1: 'engine', h2: 'kernel' });
  if (d1 === undefined || d2 === undefined) throw new Error('two daemons');
  const a2 = await d2.address();
  const before = await d1.ready();
  // The engine has its own address's port only, a vxlan device wants that of every address.
  const script =
    "require('node:dgram').createSocket('udp4').bind(8472, '127.0.0.1', () => console.log('bound'))";
  const holder = d1.host.spawn([process.execPath, '-e', script]);
  await awaitCondition('the port to be taken', () => {
    if (!holder.running) throw holder.failure();
    return holder.stdout.includes('bound');
  });
  for (const wish of ['kernel', 'auto']) {
    const refused = await changeOver(d1, wish);
    t.equal(refused.exitCode, 1);
    t.match(refused.stderr, /^kersey: PORT_IN_USE: flannel\.1 cannot be set up: UDP port 8472 is taken; /m);
    const status = await d1.until('is well', ({ state }) => state === 'ok');
    t.same(status.dataplane, before.dataplane, `${wish}: as before`);
    t.same(identity(status), identity(before));
    t.equal(await deviceKind(d1.host), 'tun');
    await reaches(t, d1.host, a2, `${wish} refused: traffic flows`);
  }
  await holder.stop();
  t.equal((await changeOver(d1, 'kernel')).exitCode, 0, 'and had when the port is free');
  await reaches(t, d1.host, a2, 'on the kernel');
});

t.test('a backend that only the kernel has', { skip: skipUnlessRoot() }, async (t) => {
  const w = await world(t, ['h1', 'h2'], { Type: 'host-gw' });
  const [d1] = [w.start('h1', '--dataplane', 'auto')];
  const before = await d1.ready();
  const refused = await changeOver(d1, 'engine');
  t.equal(refused.exitCode, 1);
  t.match(
    refused.stderr,
    /^kersey: BACKEND_UNSUPPORTED: --dataplane engine cannot be had: routes do without a tunnel; /m,
  );
  t.same((await d1.status())?.dataplane, before.dataplane);
  t.match((await changeOver(d1, 'kernel')).stdout, 'kernel');
  t.match(await d1.status(), { state: 'ok', dataplane: { mode: 'kernel', wish: 'kernel' } });
});

t.test(
  "checks of the engine's that are switched off are said while it carries the packets",
  { skip: without },
  async (t) => {
    const w = await world(t, ['h1']);
    const d1 = w.start('h1', '--dataplane', 'engine', '--allow-unknown-sources', '--no-inner-source-check');
    const both = [/^--allow-unknown-sources/, /^--no-inner-source-check/];
    t.match((await d1.ready()).warnings, both);
    await changeOver(d1, 'kernel');
    t.same((await d1.status())?.warnings, [], 'kernel vxlan never made them');
    await changeOver(d1, 'engine');
    t.match((await d1.status())?.warnings, both);
  },
);

t.test('GBP, which only the kernel has', { skip: without }, async (t) => {
  const w = await world(t, ['h1'], { GBP: true });
  const d1 = w.start('h1', '--dataplane', 'kernel');
  const before = await d1.ready();
  const [link] = await d1.host.ipJson<{ ifindex: number }[]>('link', 'show', 'flannel.1');
  const refused = await changeOver(d1, 'engine');
  t.equal(refused.exitCode, 1);
  t.match(refused.stderr, /^kersey: BACKEND_UNSUPPORTED: config\.Backend\.GBP is true/m);
  t.same((await d1.status())?.dataplane, before.dataplane);
  const [now] = await d1.host.ipJson<{ ifindex: number }[]>('link', 'show', 'flannel.1');
  t.equal(now?.ifindex, link?.ifindex, 'the device was not touched');
});

t.test('a node on the kernel that stops leaves the packets flowing', { skip: without }, async (t) => {
  const w = await world(t, ['h1', 'h2']);
  const daemons = await started(w, { h1: 'kernel', h2: 'engine' });
  const [d1, d2] = daemons;
  if (d1 === undefined || d2 === undefined) throw new Error('two daemons');
  const { host } = d1;
  const [a1 = '', a2 = ''] = await Promise.all(daemons.map((daemon) => daemon.address()));
  const tables = await tablesOf(host);
  const indexOf = async (): Promise<number | undefined> =>
    (await host.ipJson<{ ifindex: number }[]>('link', 'show', 'flannel.1'))[0]?.ifindex;
  const index = await indexOf();
  const pings = await Promise.all([SteadyPing.start(host, a2), SteadyPing.start(d2.host, a1)]);
  t.equal(await d1.end(), 0);
  t.equal(await tablesOf(host), tables, 'stopped: routes, neighbours and forwarding entries stay');
  t.equal(await indexOf(), index, 'stopped: the device stays');
  for (const each of pings) await each.next();
  const again = w.start('h1', '--dataplane', 'kernel');
  const status = await again.ready();
  for (const each of pings) await each.next();
  t.equal(status.lease.subnet, `${a1}/24`);
  t.equal(await indexOf(), index, 'started again: the device is adopted');
  t.equal(await tablesOf(host), tables, 'started again: its tables are the same');
  t.same(
    Object.values(status.repairs).filter((n) => n > 0),
    [],
    'and nothing was repaired',
  );
  for (const each of pings) t.equal(each.longestGap(), 0, 'not one ping was lost');
  t.equal(await again.end(), 0);

  const engine = w.start('h1', '--dataplane', 'engine');
  t.equal(await engine.address(), a1, 'the same lease on the engine');
  for (const each of pings) await each.next();
  t.equal(await deviceKind(host), 'tun', "the engine's device is there instead");
  t.pass(`no answer for at most ${pings.map((each) => each.longestGap()).join(', ')} ms`);
  await Promise.all(pings.map((each) => each.stop()));
  t.equal(await engine.end(), 0);
  t.notMatch((await host.exec(['ip', 'link'])).stdout, /flannel/, 'which goes with the node');
});
