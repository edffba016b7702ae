// The underlay changes under a node that runs: the node follows, with the same subnet, and so do its peers.

import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';

import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { ping } from '../../src/lab/measure.ts';
import type { Status } from '../../src/observe/status.ts';
import { Daemon } from '../lib/daemon.ts';
import { kernelVxlanMissing, skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';

const skip = skipUnlessRoot() || skipUnlessTun();
const missing = skip === false ? await kernelVxlanMissing() : undefined;

interface Pair {
  readonly store: string;
  readonly d1: Daemon;
  readonly d2: Daemon;
  /** Addresses inside. */
  readonly a1: string;
  readonly a2: string;
}

/** h1, whose underlay will change, and h2, which has none but to follow. */
async function pair(t: Test, backend: string, dataplane: string): Promise<Pair> {
  const lab = await Lab.open({ hosts: ['h1', 'h2'] });
  t.teardown(() => lab.close());
  const store = path.join(lab.directory, 'network.json');
  const config = { Network: '10.5.0.0/16', Backend: { Type: backend } };
  writeFileSync(store, JSON.stringify({ config, leases: {} }));
  const start = (name: string, other: string, mode: string): Daemon =>
    new Daemon(lab.host(name), store, path.join(lab.directory, name), [
      ...['--iface-can-reach', lab.host(other).address4, '--dataplane', mode],
    ]);
  const daemons = [
    start('h1', 'h2', dataplane),
    start('h2', 'h1', backend === 'vxlan' ? 'engine' : 'auto'),
  ] as const;
  const [s1, s2] = await Promise.all(
    daemons.map((daemon) => daemon.until('knows the other', (status) => outersOf(status).length === 1)),
  );
  const bases = [s1, s2].map((status) => (status?.lease.subnet ?? '').split('/')[0] ?? '');
  // A bridge of containers: what routes without a tunnel lead to.
  const [a1 = '', a2 = ''] = bases.map((base) => base.replace(/0$/, '1'));
  for (const [daemon, address] of [
    [daemons[0], a1],
    [daemons[1], a2],
  ] as const) {
    await daemon.host.ip(
      'link add cni0 type bridge',
      `address add ${address}/24 dev cni0`,
      'link set cni0 up',
    );
    await daemon.host.sysctl('net.ipv4.ip_forward', 1);
  }
  const [d1, d2] = daemons;
  const world = { store, d1, d2, a1, a2 };
  await flows(t, world, 'at first');
  return world;
}

/** Both ways. */
async function flows(t: Test, { d1, d2, a1, a2 }: Pair, when: string): Promise<void> {
  for (const [from, to] of [
    [d1.host, a2],
    [d2.host, a1],
  ] as const) {
    const what = `${when}: ${from.name} reaches ${to}`;
    await awaitCondition(what, async () => (await ping(from, to, { count: 1 })).received === 1, {
      timeoutMs: 15_000,
    });
    t.pass(what);
  }
}

/** The underlay addresses of its peers. */
function outersOf({ overlays, routes }: Status): readonly string[] {
  return [
    ...overlays.flatMap(({ peers }) => peers.map(({ outer }) => outer)),
    ...routes.map(({ via }) => via),
  ];
}

const isWell = ({ state, problems, warnings }: Status): boolean =>
  state === 'ok' && problems.length === 0 && warnings.length === 0;

function publicIpsIn(store: string): Readonly<Record<string, string>> {
  const { leases } = JSON.parse(readFileSync(store, 'utf8')) as {
    leases: Record<string, { PublicIP: string }>;
  };
  return Object.fromEntries(Object.entries(leases).map(([key, { PublicIP }]) => [key, PublicIP]));
}

/** Of every lease of the store the subnet's first address and the public one. */
function leased({ a1, a2 }: Pair, first: string): Readonly<Record<string, string>> {
  const key = (address: string): string => address.replace(/1$/, '0-24');
  return { [key(a1)]: first, [key(a2)]: '192.168.78.2' };
}

async function routesOf(host: Host): Promise<string> {
  const { stdout } = await host.exec(['ip', '-4', 'route', 'show']);
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('10.5.') && !line.includes('cni0'))
    .join('\n');
}

async function indexOf(host: Host, device: string): Promise<number | undefined> {
  return (await host.ipJson<{ ifindex: number }[]>('link', 'show', device))[0]?.ifindex;
}

for (const dataplane of ['engine', 'kernel'] as const) {
  const reason = dataplane === 'kernel' && missing !== undefined && `no kernel vxlan: ${missing}`;
  t.test(`vxlan on the ${dataplane}`, { skip: skip || reason }, async (t) => {
    const w = await pair(t, 'vxlan', dataplane);
    const { d1, d2, a2, store } = w;
    const { host } = d1;
    const mac = (await d1.ready()).overlays[0]?.vtepMac;
    const index = await indexOf(host, 'flannel.1');
    const route = await routesOf(host);

    await host.ip('link set eth0 down');
    const down = await d1.until('sees it down', ({ warnings }) => warnings.length > 0);
    t.match(down.warnings, ['the underlay interface eth0 is down']);
    await host.ip('link set eth0 up');
    await d1.until('is well', isWell);
    await flows(t, w, 'flapped');

    await host.ip('link set eth0 down', 'link set eth0 name eth9', 'link set eth9 up');
    await d1.until('knows the new name', (s) => isWell(s) && s.underlay.iface === 'eth9');
    await flows(t, w, 'renamed');
    t.equal(await indexOf(host, 'flannel.1'), index, 'the device is the same');
    t.equal(await routesOf(host), route, 'and the route');

    await host.ip('address del 192.168.78.1/24 dev eth9', 'address add 192.168.78.77/24 dev eth9');
    const moved = await d1.until(
      'is known by the new address',
      (s) => isWell(s) && s.lease.publicIP === '192.168.78.77',
    );
    t.equal(moved.underlay.address, '192.168.78.77');
    t.same(publicIpsIn(store), leased(w, '192.168.78.77'), 'one lease each, the subnets are the same');
    t.equal(moved.overlays[0]?.vtepMac, mac, 'so is the VtepMAC');
    const peer = await d2.until('follows', (s) => isWell(s) && outersOf(s).includes('192.168.78.77'));
    t.same(outersOf(peer), ['192.168.78.77'], 'and has forgotten the old address');
    await flows(t, w, 're-addressed');
    t.equal(await routesOf(host), route, 'the route is the same');

    await host.ip(
      'link add br0 type bridge',
      'link set br0 up',
      'link set eth9 master br0',
      'address del 192.168.78.77/24 dev eth9',
      'address add 192.168.78.77/24 dev br0',
    );
    await d1.until('is on the bridge', (s) => isWell(s) && s.underlay.iface === 'br0');
    await flows(t, w, 'on a bridge');
    t.same(publicIpsIn(store), leased(w, '192.168.78.77'), 'the leases stay');

    const kept = await indexOf(host, 'flannel.1');
    await host.ip('address del 192.168.78.77/24 dev br0');
    const lost = await d1.until('has no underlay', ({ warnings }) => warnings.length > 0);
    t.match(lost.warnings, [
      /^the underlay address 192\.168\.78\.77 is no longer on br0, and no other fits \(.+\); waiting for one$/,
    ]);
    t.equal(lost.state, 'ok', 'the forwarding config is in force');
    t.equal(await indexOf(host, 'flannel.1'), kept, 'the device stays');
    t.equal(await routesOf(host), route, 'the route stays');
    t.same(publicIpsIn(store), leased(w, '192.168.78.77'), 'the leases stay');
    await host.ip('address add 192.168.78.77/24 dev br0');
    await d1.until('is well', isWell);
    t.equal(await indexOf(host, 'flannel.1'), kept, 'the device is the same');
    await flows(t, w, 'the address is back');

    await host.ip('link set br0 mtu 1400');
    await d1.until('follows the MTU', (s) => isWell(s) && s.overlays[0]?.mtu === 1350);
    t.equal((await host.ipJson<{ mtu: number }[]>('link', 'show', 'flannel.1'))[0]?.mtu, 1350);
    t.match(readFileSync(d1.subnetFile, 'utf8'), /^FLANNEL_MTU=1350$/m);
    await flows(t, w, 'another MTU');
    const { received } = await ping(host, a2, { count: 1, size: 1350 - 28 });
    t.equal(received, 1, 'a packet of the MTU');

    const { repairs } = await d1.until('is well', isWell);
    t.same(
      Object.entries(repairs).filter(([, n]) => n > 0),
      [],
      'what the underlay did was no damage of ours',
    );
    for (const daemon of [d1, d2]) t.equal(await daemon.end(), 0);
  });
}

t.test('host-gw', { skip }, async (t) => {
  const w = await pair(t, 'host-gw', 'auto');
  const { d1, d2, a2, store } = w;
  const { host } = d1;
  const dst = a2.replace(/1$/, '0/24');
  const leadsOver = (iface: string): Promise<string> =>
    awaitCondition(`the route over ${iface}`, async () => {
      const text = (await routesOf(host)).trimEnd();
      return text.startsWith(`${dst} via 192.168.78.2 dev ${iface} `) && text;
    });
  const repairsOfRoutes = async (): Promise<number> => (await d1.status())?.repairs['route'] ?? 0;

  // The kernel removes what leads over an interface that goes down.
  await host.ip('link set eth0 down');
  await d1.until('sees it down', ({ warnings }) => warnings.some((text) => text.endsWith('eth0 is down')));
  await host.ip('link set eth0 name eth9', 'link set eth9 up');
  await d1.until('knows the new name', (s) => isWell(s) && s.underlay.iface === 'eth9');
  await leadsOver('eth9');
  await flows(t, w, 'flapped and renamed');

  const before = await repairsOfRoutes();
  await host.ip('link set eth9 down', 'link set eth9 up');
  await leadsOver('eth9');
  await flows(t, w, 'flapped');
  await d1.until('counts the repair', ({ repairs }) => (repairs['route'] ?? 0) > before);

  await host.ip('address del 192.168.78.1/24 dev eth9', 'address add 192.168.78.77/24 dev eth9');
  await d1.until('is known by the new address', (s) => isWell(s) && s.lease.publicIP === '192.168.78.77');
  await d2.until('follows', (s) => isWell(s) && outersOf(s).every((ip) => ip === '192.168.78.77'));
  await flows(t, w, 're-addressed');
  t.same(publicIpsIn(store), leased(w, '192.168.78.77'), 'one lease each, the subnets are the same');

  await host.ip(
    'link add br0 type bridge',
    'link set br0 up',
    'link set eth9 master br0',
    'address del 192.168.78.77/24 dev eth9',
    'address add 192.168.78.77/24 dev br0',
  );
  await d1.until('is on the bridge', (s) => isWell(s) && s.underlay.iface === 'br0');
  await leadsOver('br0');
  await flows(t, w, 'on a bridge');

  await host.ip('link set br0 mtu 1400');
  await awaitCondition('the subnet file', () =>
    /^FLANNEL_MTU=1400$/m.test(readFileSync(d1.subnetFile, 'utf8')),
  );
  t.match(await d1.until('is well', isWell), { state: 'ok' });
});
