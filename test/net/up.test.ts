// `kersey up` on two hosts: what it makes, what it leaves, what it survives.

import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';

import { run } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { ping } from '../../src/lab/measure.ts';
import type { Status } from '../../src/observe/status.ts';
import { Daemon, kersey } from '../lib/daemon.ts';
import { skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';

const skip = skipUnlessRoot() || skipUnlessTun();
const network = { Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } };
const iface = ['--iface', 'eth0'];

interface World {
  readonly lab: Lab;
  readonly store: string;
  readonly h1: Host;
  readonly h2: Host;
  start(host: Host, ...more: readonly string[]): Daemon;
}

async function world(t: Test, config: object = network, leases: object = {}): Promise<World> {
  const lab = await Lab.open({ hosts: ['h1', 'h2'], join: 'direct' });
  t.teardown(() => lab.close());
  const store = path.join(lab.directory, 'network.json');
  writeFileSync(store, JSON.stringify({ config, leases }));
  const start = (host: Host, ...more: readonly string[]): Daemon =>
    new Daemon(host, store, path.join(lab.directory, host.name), [...iface, ...more]);
  return { lab, store, h1: lab.host('h1'), h2: lab.host('h2'), start };
}

async function pair(w: World): Promise<readonly [Daemon, Daemon]> {
  const daemons = [w.start(w.h1), w.start(w.h2)] as const;
  await Promise.all(daemons.map((daemon) => daemon.until('knows the other', hasPeers(1))));
  return daemons;
}

const hasPeers =
  (count: number) =>
  (status: Status): boolean =>
    status.overlays.every(({ peers }) => peers.length === count);

async function text(host: Host, ...argv: readonly string[]): Promise<string> {
  return (await host.exec(argv)).stdout;
}

async function reaches(t: Test, from: Host, to: string, what = `${from.name} reaches ${to}`): Promise<void> {
  await awaitCondition(what, async () => (await ping(from, to, { count: 1 })).received === 1, {
    timeoutMs: 15_000,
  });
  t.pass(what);
}

function leasesIn(store: string): Record<string, { PublicIP: string; BackendData: { VtepMAC: string } }> {
  return (JSON.parse(readFileSync(store, 'utf8')) as { leases: never }).leases;
}

function edit(store: string, change: (document: { leases: Record<string, object> }) => void): void {
  const document = JSON.parse(readFileSync(store, 'utf8')) as { leases: Record<string, object> };
  change(document);
  writeFileSync(`${store}.new`, JSON.stringify(document));
  renameSync(`${store}.new`, store);
}

t.test('two hosts reach each other, and show what hosts of flannel show', { skip }, async (t) => {
  const w = await world(t);
  const [d1, d2] = await pair(w);
  const [a1, a2] = await Promise.all([d1.address(), d2.address()]);
  t.not(a1, a2, 'started together, they have different subnets');
  await reaches(t, w.h1, a2);
  await reaches(t, w.h2, a1);

  t.match(await text(w.h1, 'ip', 'route'), new RegExp(`^${a2}/24 via ${a2} dev flannel\\.1 onlink *$`, 'm'));
  t.match(
    await text(w.h1, 'ip', 'address', 'show', 'flannel.1'),
    new RegExp(`inet ${a1}/32 scope global flannel\\.1`),
  );
  const [link] = await w.h1.ipJson<{ mtu: number; flags: string[] }[]>('link', 'show', 'flannel.1');
  t.match(link, { mtu: 1450, flags: ['POINTOPOINT', 'MULTICAST', 'NOARP', 'UP', 'LOWER_UP'] });
  t.equal(
    await text(w.h1, 'ip', '-6', 'address', 'show', 'flannel.1'),
    '',
    'no link-local address, no noise',
  );

  t.equal(
    readFileSync(d1.subnetFile, 'utf8'),
    `FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=${a1.replace(/0$/, '1')}/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n`,
  );
  t.equal(statSync(d1.subnetFile).mode & 0o777, 0o644);
  const lease = leasesIn(w.store)[`${a1}-24`];
  t.match(lease, {
    PublicIP: '192.168.78.1',
    PublicIPv6: null,
    BackendType: 'vxlan',
    BackendData: { VNI: 1 },
  });

  const argv = [...kersey, 'status', '--run-dir', d1.runDir];
  const status = JSON.parse(await text(w.h1, ...argv, '-o', 'json')) as Status;
  t.match(status, {
    state: 'ok',
    problems: [],
    warnings: [],
    dataplane: { mode: 'engine' },
    lease: { subnet: `${a1}/24`, publicIP: '192.168.78.1' },
    underlay: { iface: 'eth0', mtu: 1500, address: '192.168.78.1' },
    store: { state: 'readable', leases: 2 },
    overlays: [
      { device: 'flannel.1', state: 'running', peers: [{ prefix: `${a2}/24`, outer: '192.168.78.2' }] },
    ],
  });
  const [peer] = status.overlays[0]?.peers ?? [];
  t.ok(peer !== undefined && (peer.txPackets ?? 0) > 0 && (peer.rxPackets ?? 0) > 0, 'traffic is counted');
  t.match(await text(w.h1, ...argv), new RegExp(`next: .ping ${a2.replaceAll('.', '\\.')}`));
  const elsewhere = await w.h2.exec(argv, { anyExit: true });
  t.equal(elsewhere.exitCode, 1, 'a daemon is found only from its own namespace');
  t.match(elsewhere.stderr, /^kersey: DAEMON_NOT_RUNNING: .*; start one with `kersey up/m);

  const second = await run(
    [
      'ip',
      'netns',
      'exec',
      w.h1.netns,
      ...kersey,
      'up',
      '--store',
      `file:${w.store}`,
      ...iface,
      '--run-dir',
      d1.runDir,
      '--subnet-file',
      d1.subnetFile,
    ],
    { anyExit: true },
  );
  t.equal(second.exitCode, 1);
  t.match(second.stderr, /^kersey: DAEMON_RUNNING: /m);

  for (const daemon of [d1, d2]) {
    t.equal(await daemon.end(), 0);
    t.notMatch(await text(daemon.host, 'ip', 'link'), /flannel/, 'no device');
    t.notMatch(await text(daemon.host, 'ip', 'route'), /10\.5\./, 'no route');
    t.same(readdirSync(daemon.runDir), [], 'no socket');
    t.ok(existsSync(daemon.subnetFile), 'the subnet file stays');
  }
  t.equal(Object.keys(leasesIn(w.store)).length, 2, 'the leases stay');
});

t.test('killed and started again: the same subnet, and traffic flows again', { skip }, async (t) => {
  const w = await world(t);
  const [d1, d2] = await pair(w);
  const [a1, a2] = await Promise.all([d1.address(), d2.address()]);
  const before = leasesIn(w.store)[`${a1}-24`];
  await d1.end('SIGKILL');
  t.notMatch(await text(w.h1, 'ip', 'link'), /flannel/, 'the kernel took the device back');
  t.equal(d1.sockets().length, 1, 'its socket file is still there');
  const again = w.start(w.h1);
  t.equal(await again.address(), a1);
  t.same(leasesIn(w.store)[`${a1}-24`], before, 'same VTEP as well');
  await reaches(t, w.h1, a2);
  await reaches(t, w.h2, a1);
});

t.test('a store that breaks is reported, and forwarding goes on', { skip }, async (t) => {
  const w = await world(t);
  const [d1, d2] = await pair(w);
  const a2 = await d2.address();
  const whole = readFileSync(w.store, 'utf8');
  const breakages: Readonly<Record<string, readonly [() => void, string]>> = {
    'cut in half': [
      () => {
        writeFileSync(w.store, whole.slice(0, whole.length / 2));
      },
      'STORE_MALFORMED',
    ],
    gone: [
      () => {
        rmSync(w.store);
      },
      'STORE_MISSING',
    ],
    empty: [
      () => {
        writeFileSync(w.store, '');
      },
      'STORE_MALFORMED',
    ],
  };
  for (const [name, [damage, code]] of Object.entries(breakages)) {
    damage();
    const status = await d1.until(`sees the store ${name}`, ({ problems }) =>
      problems.some((p) => p.code === code),
    );
    t.match(status, { state: 'degraded', store: { state: 'unreadable', leases: 2 } }, name);
    t.equal(status.overlays[0]?.peers.length, 1, `${name}: the peer is kept`);
    await reaches(t, w.h1, a2, `${name}: traffic flows`);
    const shown = await text(w.h1, ...kersey, 'status', '--run-dir', d1.runDir);
    t.match(shown.split('\n')[2], new RegExp(`^  ${code}: .*; .+`), `${name}: first thing in the status`);
    writeFileSync(w.store, whole);
    await d1.until('is well again', ({ state, store }) => state === 'ok' && store.state === 'readable');
  }
  t.equal(readFileSync(w.store, 'utf8'), whole, 'the store was not touched');
});

t.test('leases that come, change and go by hand', { skip }, async (t) => {
  const w = await world(t);
  const d1 = w.start(w.h1);
  const own = `${await d1.address()}-24`;
  const entry = (ip: string, mac: string): object => ({
    PublicIP: ip,
    PublicIPv6: null,
    BackendType: 'vxlan',
    BackendData: { VNI: 1, VtepMAC: mac },
  });
  const route = (): Promise<string> => text(w.h1, 'ip', 'route', 'show', '10.5.250.0/24');
  edit(w.store, ({ leases }) => {
    leases['10.5.250.0-24'] = entry('192.168.78.50', '0e:00:00:00:00:50');
  });
  await d1.until('knows the static peer', hasPeers(1));
  t.match(await route(), /^10\.5\.250\.0\/24 via 10\.5\.250\.0 dev flannel\.1 onlink/);
  edit(w.store, ({ leases }) => {
    leases['10.5.250.0-24'] = entry('192.168.78.51', '0e:00:00:00:00:51');
    leases['10.5.251.0-24'] = { ...entry('192.168.78.52', '0e:00:00:00:00:52'), BackendType: 'host-gw' };
  });
  const status = await d1.until(
    'follows it',
    ({ overlays }) => overlays[0]?.peers[0]?.outer === '192.168.78.51',
  );
  t.match(status.warnings, [/10\.5\.251\.0\/24 of 192\.168\.78\.52 is ignored: its backend is "host-gw"/]);
  edit(w.store, (document) => {
    document.leases = { [own]: document.leases[own] ?? {} };
  });
  await d1.until('has forgotten it', hasPeers(0));
  t.equal(await route(), '');
  t.same(
    (await d1.status())?.repairs,
    { device: 0, link: 0, address: 0, route: 0, neighbour: 0, fdb: 0, peer: 0, firewall: 0 },
    'none of this is a repair',
  );

  edit(w.store, (document) => {
    document.leases = {};
  });
  await awaitCondition('our lease to be claimed again', () => own in leasesIn(w.store));
  edit(w.store, ({ leases }) => {
    leases[own] = entry('192.168.78.99', '0e:00:00:00:00:99');
  });
  const lost = await d1.until('sees that its subnet is taken', ({ state }) => state === 'degraded');
  t.match(lost.problems, [{ code: 'SUBNET_OVERLAP', message: /is leased to 192\.168\.78\.99/ }]);
  t.match(leasesIn(w.store)[own], { PublicIP: '192.168.78.99' }, 'and does not take it back by force');
});

t.test('what others do to the device is put right within seconds', { skip }, async (t) => {
  const w = await world(t);
  const [d1, d2] = await pair(w);
  const a2 = await d2.address();
  const repaired =
    (kind: string) =>
    (status: Status): boolean =>
      status.state === 'ok' && (status.repairs[kind] ?? 0) > 0;
  await w.h1.ip('address add 169.254.9.9/16 dev flannel.1', 'route add default dev flannel.1');
  await d1.until(
    'removes what is not ours',
    (status) => repaired('address')(status) && repaired('route')(status),
  );
  t.notMatch(await text(w.h1, 'ip', 'address'), /169\.254/);
  t.equal(await text(w.h1, 'ip', 'route', 'show', 'default'), '');
  await w.h1.ip('link set flannel.1 down');
  await d1.until('sets it up again', repaired('link'));
  await reaches(t, w.h1, a2, 'after it was set down');
  await w.h1.ip('link delete flannel.1');
  await d1.until('makes it again', repaired('device'));
  await reaches(t, w.h1, a2, 'after it was deleted');
  t.match(d1.process.stderr, /repaired: /, 'and it is in the log');
});

t.test('the MTU of the underlay is followed, and so is its absence', { skip }, async (t) => {
  const w = await world(t);
  const [d1, d2] = await pair(w);
  await w.h1.ip('link set eth0 mtu 1400');
  await d1.until(
    'follows the MTU',
    ({ overlays }) => overlays[0]?.mtu === 1350 && overlays[0].state === 'running',
  );
  t.match(await text(w.h1, 'ip', 'link', 'show', 'flannel.1'), /mtu 1350/);
  t.match(readFileSync(d1.subnetFile, 'utf8'), /^FLANNEL_MTU=1350$/m);
  await reaches(t, w.h1, await d2.address());
  await w.h1.ip('link set eth0 mtu 300');
  const small = await d1.until('refuses one too small', ({ state }) => state === 'degraded');
  t.match(small, { problems: [{ code: 'MTU_TOO_SMALL' }], overlays: [{ mtu: 1350, state: 'running' }] });
  await w.h1.ip('link set eth0 mtu 1500 down');
  await d1.until('sees the interface down', ({ warnings }) =>
    warnings.some((warning) => warning.includes('eth0 is down')),
  );
  await w.h1.ip('link set eth0 up');
  await d1.until('is well again', ({ state, warnings }) => state === 'ok' && warnings.length === 0);
  await reaches(t, w.h1, await d2.address());
});

t.test('both families', { skip }, async (t) => {
  const w = await world(t, {
    ...network,
    EnableIPv6: true,
    IPv6Network: 'fd00:5::/48',
    Backend: { Type: 'vxlan', VNI: 42, Port: 4789 },
  });
  const [d1, d2] = await pair(w);
  const six = (status: Status): string => (status.lease.subnet6 ?? '').split('/')[0] ?? '';
  const [s1, s2] = [six(await d1.ready()), six(await d2.ready())];
  await reaches(t, w.h1, await d2.address());
  await reaches(t, w.h1, s2);
  await reaches(t, w.h2, s1);
  t.match(
    await text(w.h1, 'ip', '-6', 'route'),
    new RegExp(`^${s2}/64 via ${s2} dev flannel-v6\\.42 metric 1024 onlink pref medium *$`, 'm'),
  );
  t.match(
    await text(w.h1, 'ip', '-6', 'address', 'show', 'flannel-v6.42'),
    new RegExp(`inet6 ${s1}/128 scope global`),
  );
  const [a1] = [await d1.address()];
  t.equal(
    readFileSync(d1.subnetFile, 'utf8'),
    `FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=${a1.replace(/0$/, '1')}/24\n` +
      `FLANNEL_IPV6_NETWORK=fd00:5::/48\nFLANNEL_IPV6_SUBNET=${s1}1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n`,
  );
  t.equal(await d1.end('SIGINT'), 0);
  t.notMatch(await text(w.h1, 'ip', 'link'), /flannel/);
});

t.test('IPv6 alone', { skip }, async (t) => {
  const w = await world(t, {
    EnableIPv4: false,
    EnableIPv6: true,
    IPv6Network: 'fd00:5::/48',
    Backend: { Type: 'vxlan' },
  });
  const [d1, d2] = await pair(w);
  const a2 = await d2.address();
  await reaches(t, w.h1, a2);
  t.notMatch(await text(w.h1, 'ip', 'link'), /flannel\.1/, 'no device of IPv4');
  t.match(
    await text(w.h1, ...kersey, 'status', '--run-dir', d1.runDir),
    /lease +fd00:5:0:[\da-f]+::\/64, known to peers as fd78::1/,
  );
});

t.test('behind a NAT: peers are told the outside, frames leave from the inside', { skip }, async (t) => {
  const w = await world(t);
  const d1 = w.start(w.h1, '--public-ip', '203.0.113.1');
  const status = await d1.ready();
  t.match(status, { lease: { publicIP: '203.0.113.1' }, underlay: { address: '192.168.78.1' } });
  t.match(Object.values(leasesIn(w.store)), [{ PublicIP: '203.0.113.1' }]);
});

t.test('the log as JSON lines', { skip }, async (t) => {
  const w = await world(t);
  const d1 = w.start(w.h1, '-o', 'json', '--disable', 'udp-gso', '--allow-unknown-sources');
  const status = await d1.ready();
  t.match(status.warnings, [/--allow-unknown-sources/]);
  t.match(
    status.overlays[0]?.features.find(({ name }) => name === 'udp-gso'),
    { on: false, reason: /by option/ },
  );
  await d1.end();
  const lines = d1.process.stderr
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { level: string; time: string; msg: string; device?: string });
  t.ok(lines.some(({ device, msg }) => device === 'flannel.1' && msg.includes('UDP port 8472')));
  t.ok(lines.every(({ level, time }) => /^(info|warn)$/.test(level) && !Number.isNaN(Date.parse(time))));
});
