// Superpackets that leave whole (tunnel-gso) over underlays other than a plain device: bridge, VLAN, bond, gateway; and
// what changes while they do: the next hop, its MAC address, the link. The kernel's own routing finds the way, so all
// of it has to work without the engine noticing.

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';

import { run } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { ping } from '../../src/lab/measure.ts';
import { PayloadReceiver } from '../../src/lab/payload.ts';
import { Daemon } from '../lib/daemon.ts';
import { skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';

const skip = skipUnlessRoot() || skipUnlessTun();

/** Two daemons that know each other; `device` is the underlay's. */
async function daemons(lab: Lab, device: string): Promise<readonly [Daemon, Daemon]> {
  const store = path.join(lab.directory, 'network.json');
  writeFileSync(
    store,
    JSON.stringify({ config: { Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } }, leases: {} }),
  );
  const start = (name: string): Daemon =>
    new Daemon(lab.host(name), store, path.join(lab.directory, name), ['--iface', device]);
  const both = [start('h1'), start('h2')] as const;
  await Promise.all(
    both.map((daemon) =>
      daemon.until('knows the other', ({ overlays }) => overlays.every(({ peers }) => peers.length === 1)),
    ),
  );
  return both;
}

/** 8 MB each way arrive as they were sent, and where tunnel-gso is on, superpackets carried them. */
async function carries(t: Test, [a, b]: readonly [Daemon, Daemon], what: string): Promise<void> {
  const address = await b.address();
  await awaitCondition(
    `${what}: an answer`,
    async () => (await ping(a.host, address, { count: 1 })).received === 1,
    { timeoutMs: 15_000 },
  );
  const before = await sent(a);
  const receiver = await PayloadReceiver.open(b.host, address);
  t.same((await receiver.tcpFrom(a.host, [1, 100_000, 8_000_000])).faults, [], `${what}: bytes`);
  await receiver.close();
  const after = await sent(a);
  t.comment(`${what}: tunnel-gso ${after.on ? 'on' : 'off'} (${after.reason})`);
  if (after.on) {
    const [whole, others] = [after.whole - before.whole, after.datagrams - before.datagrams];
    t.ok(whole > others, `${what}: superpackets left whole (${whole}, ${others} other sends)`);
  }
  t.equal(after.noRoute, before.noRoute, `${what}: none without a route`);
}

async function sent(daemon: Daemon): Promise<{
  /** Sends by which superpackets leave whole: by tunnel-gso, and of flows that are offloaded past it. */
  readonly whole: number;
  readonly datagrams: number;
  readonly noRoute: number;
  readonly on: boolean;
  readonly reason: string;
}> {
  const [overlay] = (await daemon.ready()).overlays;
  const feature = overlay?.features.find(({ name }) => name === 'tunnel-gso');
  const counters = overlay?.counters ?? {};
  return {
    whole: (counters['tx_injected'] ?? 0) + (counters['tx_offloaded'] ?? 0),
    datagrams: counters['tx_datagrams'] ?? 0,
    noRoute: overlay?.drops['tx_no_route'] ?? 0,
    on: feature?.on ?? false,
    reason: feature?.reason ?? '',
  };
}

/** Says why, where the kernel has no devices of this kind. */
async function lacks(t: Test, host: Host, kind: readonly string[]): Promise<boolean> {
  const { exitCode, stderr } = await host.exec(['ip', 'link', 'add', 'name', 'probe0', ...kind], {
    anyExit: true,
  });
  if (exitCode === 0) {
    await host.ip('link delete probe0');
    return false;
  }
  t.pass('such a device', { skip: `'ip link add ${kind.join(' ')}': ${stderr.trim()}` });
  return true;
}

t.test('a bridge', { skip }, async (t) => {
  const lab = await Lab.open({ hosts: ['h1', 'h2'], join: 'direct' });
  t.teardown(() => lab.close());
  for (const [index, host] of lab.hosts.entries()) {
    await host.ip(
      `address flush dev ${host.device}`,
      'link add br0 type bridge',
      `link set ${host.device} master br0`,
      `address add 192.168.79.${String(index + 1)}/24 dev br0`,
      'link set br0 up',
    );
  }
  await carries(t, await daemons(lab, 'br0'), 'bridge');
});

t.test('a VLAN', { skip }, async (t) => {
  const lab = await Lab.open({ hosts: ['h1', 'h2'], join: 'direct' });
  t.teardown(() => lab.close());
  const [first] = lab.hosts;
  if (first === undefined) throw new RangeError('a lab without hosts');
  if (await lacks(t, first, ['link', first.device, 'type', 'vlan', 'id', '9'])) return;
  for (const [index, host] of lab.hosts.entries()) {
    await host.ip(
      `address flush dev ${host.device}`,
      `link add link ${host.device} name ${host.device}.5 type vlan id 5`,
      `address add 192.168.79.${String(index + 1)}/24 dev ${host.device}.5`,
      `link set ${host.device}.5 up`,
    );
  }
  await carries(t, await daemons(lab, `${lab.host('h1').device}.5`), 'VLAN');
});

t.test('a bond, whose active port goes down', { skip }, async (t) => {
  const lab = await Lab.open({ hosts: ['h1', 'h2'], join: 'bridge' });
  t.teardown(() => lab.close());
  if (await lacks(t, lab.host('h1'), ['type', 'bond'])) return;
  for (const [index, host] of lab.hosts.entries()) {
    await secondPort(lab, host);
    await host.ip(
      `address flush dev ${host.device}`,
      'link add bond0 type bond mode active-backup miimon 50',
      ...[host.device, 'eth1'].flatMap((port) => [`link set ${port} down`, `link set ${port} master bond0`]),
      `address add 192.168.79.${String(index + 1)}/24 dev bond0`,
      'link set bond0 up',
    );
  }
  const both = await daemons(lab, 'bond0');
  await carries(t, both, 'bond');
  await lab.host('h1').ip(`link set ${lab.host('h1').device} down`);
  await carries(t, both, 'bond, on its other port');
});

/** Another veth from the host to the bridge. */
async function secondPort(lab: Lab, host: Host): Promise<void> {
  const port = `${host.name}b`;
  await host.ip(`link add eth1 type veth peer name ${port} netns ${lab.switchNetns}`);
  await run(['ip', '-n', lab.switchNetns, 'link', 'set', port, 'master', 'br0', 'up']);
}

t.test('a gateway that is replaced, changes its MAC address, and a link that flaps', { skip }, async (t) => {
  const lab = await Lab.open({ hosts: ['h1', 'h2', 'r1', 'r2'], join: 'bridge' });
  t.teardown(() => lab.close());
  const [h1, h2] = [lab.host('h1'), lab.host('h2')];
  const { device } = h1;
  for (const [index, name] of ['r1', 'r2'].entries()) {
    const router = lab.host(name);
    await router.sysctl('net.ipv4.ip_forward', 1);
    await router.sysctl('net.ipv4.conf.all.send_redirects', 0);
    await router.sysctl(`net.ipv4.conf.${device}.send_redirects`, 0);
    const last = String(253 + index);
    await router.ip(
      `address flush dev ${device}`,
      `address add 192.168.81.${last}/24 dev ${device}`,
      `address add 192.168.82.${last}/24 dev ${device}`,
    );
  }
  const route1 = 'route replace 192.168.82.0/24 via 192.168.81.253';
  for (const [host, net, other] of [
    [h1, 81, 82],
    [h2, 82, 81],
  ] as const) {
    await host.ip(
      `address flush dev ${device}`,
      `address add 192.168.${String(net)}.1/24 dev ${device}`,
      `route replace 192.168.${String(other)}.0/24 via 192.168.${String(net)}.253`,
    );
  }
  const both = await daemons(lab, device);
  await carries(t, both, 'gateway');
  await h1.ip('route replace 192.168.82.0/24 via 192.168.81.254');
  await carries(t, both, 'another gateway');
  await lab.host('r2').ip(`link set ${device} address 02:00:00:00:77:01`);
  await h1.ip(`neigh flush dev ${device}`);
  await carries(t, both, "the gateway's new MAC address");
  await h1.ip(`link set ${device} down`, `link set ${device} up`, route1);
  await carries(t, both, 'the link down and up');
});
