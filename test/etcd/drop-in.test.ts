// flanneld in the place of flannel's: two nodes of ours and one on kernel vxlan, set up by `etcdctl`, `ip` and `bridge`
// exactly as flannel's would be, around one real etcd with members that are away.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';

import { Background } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import { KernelVxlan, probeKernelVxlan } from '../../src/lab/kernel-vxlan.ts';
import type { VtepLease } from '../../src/lab/kernel-vxlan.ts';
import { Lab } from '../../src/lab/lab.ts';
import { ping } from '../../src/lab/measure.ts';
import type { Status } from '../../src/observe/status.ts';
import { Flanneld } from '../lib/daemon.ts';
import { LabEtcd } from '../lib/lab-etcd.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';

const skip =
  skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('etcd') || skipUnlessInstalled('etcdctl');
const subnets = '/coreos.com/network/subnets/';
const config =
  '{"Network":"10.5.0.0/16","SubnetMin":"10.5.10.0","SubnetMax":"10.5.50.0","Backend":{"Type":"vxlan"}}';

interface World {
  readonly lab: Lab;
  readonly etcd: LabEtcd;
  readonly flanneld: (host: Host, flags?: readonly string[], environment?: readonly string[]) => Flanneld;
}

async function world(t: Test, members = 1): Promise<World> {
  const lab = await Lab.open({ hosts: ['h1', 'h2', 'h3'] });
  const closing: (() => Promise<void>)[] = [() => lab.close()];
  t.teardown(async () => {
    for (const close of closing) await close();
  });
  const etcd = await LabEtcd.start(lab, members);
  closing.unshift(() => etcd.close());
  // The first is nobody: an endpoint that is always away.
  const endpoints = `--etcd-endpoints=http://192.168.78.254:9,${etcd.endpoints.join(',')}`;
  const flanneld = (
    host: Host,
    flags: readonly string[] = [],
    environment: readonly string[] = [],
  ): Flanneld =>
    new Flanneld(
      host,
      path.join(lab.directory, host.name),
      [endpoints, '-iface=eth0', ...flags],
      environment,
    );
  return { lab, etcd, flanneld };
}

async function reach(t: Test, from: Host, to: string): Promise<void> {
  await awaitCondition(
    `${from.name} to reach ${to}`,
    async () => (await ping(from, to, { count: 1 })).received === 1,
    {
      timeoutMs: 15_000,
    },
  );
  t.pass(`${from.name} reaches ${to}`);
}

const knows =
  (outer: string, prefix?: string) =>
  ({ overlays }: Status): boolean =>
    overlays[0]?.peers.some((peer) => peer.outer === outer && (prefix ?? peer.prefix) === peer.prefix) ===
    true;

/** The lease as flannel's node would write it. */
const value = ({ publicIp, mac }: VtepLease): string =>
  `{"PublicIP":"${publicIp}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`;

const healthFlags = ['--healthz-ip=127.0.0.1', '--healthz-port=8081'];

/** What the health port of a host answers. */
async function probe(host: Host, what: string): Promise<string> {
  const script = `fetch('http://127.0.0.1:8081/${what}').then(async (r) => console.log(r.status, await r.text()))`;
  const { stdout } = await host.exec(['env', '-u', 'NODE_OPTIONS', process.execPath, '-e', script]);
  return stdout.trim();
}

/** Every lease of etcd as `etcdctl` tells it, read by hand. */
async function leases(etcd: LabEtcd): Promise<readonly VtepLease[]> {
  const lines = (await etcd.ctl('get', '--prefix', subnets)).trimEnd().split('\n');
  return lines.flatMap((key, i) => {
    if (!key.startsWith(subnets)) return [];
    const parsed = JSON.parse(lines[i + 1] ?? '') as { PublicIP: string; BackendData: { VtepMAC: string } };
    const subnet = key.slice(subnets.length).replace('-', '/');
    return [{ subnet, publicIp: parsed.PublicIP, mac: parsed.BackendData.VtepMAC }];
  });
}

t.test('two of ours and one of flannel, and nobody can tell', { skip, timeout: 200_000 }, async (t) => {
  const { lab, etcd, flanneld } = await world(t);
  const [h1, h2, h3] = [lab.host('h1'), lab.host('h2'), lab.host('h3')];
  const watch = etcd.watch('--prefix', subnets);
  t.teardown(() => watch.stop());

  const d1 = flanneld(h1, ['--ip-masq', ...healthFlags]);
  await awaitCondition('d1 to wait for the config', () => d1.process.stderr.includes('CONFIG_MISSING'), {
    timeoutMs: 30_000,
  });
  t.equal(await probe(h1, 'healthz'), '200 flanneld is running');
  t.equal(await probe(h1, 'readyz'), '503 flanneld is not ready yet');

  await etcd.ctl('put', '/coreos.com/network/config', config);
  const s1 = await d1.ready();
  t.equal(await probe(h1, 'readyz'), '200 flanneld is ready', 'the config came after the daemon');
  t.match(s1, { warnings: [], firewall: { mode: 'iptables', masquerade: true, forward: true } });
  const d2 = flanneld(h2);
  const s2 = await d2.until('knows the other', knows('192.168.78.1'));
  await d1.until('knows the other', knows('192.168.78.2'));
  const [a1, a2] = [await d1.address(), await d2.address()];
  for (const { lease } of [s1, s2]) {
    const third = Number(lease.subnet?.split('.')[2]);
    t.ok(third >= 10 && third <= 50, `${lease.subnet ?? ''} is within SubnetMin and SubnetMax`);
  }

  const mac1 = s1.overlays[0]?.vtepMac ?? '';
  const own = { subnet: `${a1}/24`, publicIp: '192.168.78.1', mac: mac1 };
  await awaitCondition('etcdctl watch to show the lease', () => watch.stdout.includes(`${a1}-24`));
  const [first, key, text] = watch.stdout.split('\n');
  t.same([first, key, text], ['PUT', `${subnets}${a1}-24`, value(own)], 'to the byte');
  t.match(
    readFileSync(d1.subnetFile, 'utf8'),
    `FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=${a1.replace(/0$/, '1')}/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n`,
  );

  const missing = await probeKernelVxlan(h3);
  if (missing === undefined) {
    // What flannel does on its node, done by hand.
    const lease3 = { subnet: '10.5.60.0/24', publicIp: '192.168.78.3', mac: '02:6b:79:00:00:33' };
    const kernel = await KernelVxlan.open(h3, { family: 4, own: lease3 });
    await kernel.setPeers(await leases(etcd));
    await etcd.ctl('put', `${subnets}10.5.60.0-24`, value(lease3));
    await d1.until('knows the node of flannel', knows('192.168.78.3'));
    for (const [from, to] of [
      [h1, a2],
      [h1, '10.5.60.0'],
      [h2, a1],
      [h2, '10.5.60.0'],
      [h3, a1],
      [h3, a2],
    ] as const) {
      await reach(t, from, to);
    }

    // Its device was made anew on another address: another MAC, another IP.
    const moved = { ...lease3, publicIp: '192.168.78.33', mac: '02:6b:79:00:01:33' };
    await h3.ip('link delete flannel.1', 'address add 192.168.78.33/24 dev eth0');
    const again = await KernelVxlan.open(h3, { family: 4, own: moved });
    await again.setPeers((await leases(etcd)).filter(({ subnet }) => subnet !== moved.subnet));
    await etcd.ctl('put', `${subnets}10.5.60.0-24`, value(moved));
    const put = performance.now();
    await d1.until('follows it', knows('192.168.78.33', '10.5.60.0/24'));
    t.comment(`followed ${Math.round(performance.now() - put)} ms after the put`);
    await d2.until('follows it', knows('192.168.78.33', '10.5.60.0/24'));
    for (const [from, to] of [
      [h1, '10.5.60.0'],
      [h2, '10.5.60.0'],
      [h3, a1],
      [h3, a2],
    ] as const) {
      await reach(t, from, to);
    }
    await etcd.ctl('del', `${subnets}10.5.60.0-24`);
    await d1.until('has forgotten it', (status) => !knows('192.168.78.33')(status));
  } else {
    t.comment(`no vxlan module: ${missing}`);
    await reach(t, h1, a2);
  }

  // Somebody's nonsense is a warning, and takes nobody down.
  await etcd.ctl('put', `${subnets}nonsense`, '{');
  const warned = await d1.until('warns', ({ warnings }) =>
    warnings.some((line) => line.includes('nonsense')),
  );
  t.ok(knows('192.168.78.2')(warned));

  t.equal(await d1.end(), 0);
  t.match(await etcd.ctl('get', `${subnets}${a1}-24`), value(own), 'the lease stays');
  const restarted = flanneld(h1);
  t.equal(await restarted.address(), a1, 'and is taken up again');
  t.equal((await restarted.ready()).overlays[0]?.vtepMac, mac1, 'with its MAC');
});

t.test(
  'a member dies, then all: forwarding goes on, and readiness with it',
  { skip, timeout: 200_000 },
  async (t) => {
    const { lab, etcd, flanneld } = await world(t, 3);
    const [h1, h2] = [lab.host('h1'), lab.host('h2')];
    await etcd.ctl('put', '/coreos.com/network/config', config);
    await etcd.kill(2);
    const [d1, d2] = [flanneld(h1, healthFlags), flanneld(h2)];
    await Promise.all([
      d1.until('knows h2', knows('192.168.78.2')),
      d2.until('knows h1', knows('192.168.78.1')),
    ]);
    await reach(t, h1, await d2.address());
    await etcd.close();
    const away = await d1.until('sees that etcd is away', ({ state }) => state === 'degraded');
    t.match(away.problems, [{ code: 'STORE_UNREACHABLE' }]);
    t.equal(await probe(h1, 'readyz'), '200 flanneld is ready', 'degraded, and ready');
    t.match(
      await probe(h1, 'healthz?verbose'),
      /^200 .*"state":"degraded","ready":true,.*"STORE_UNREACHABLE"/,
    );
    await reach(t, h1, await d2.address());
    t.equal(await d1.end(), 0);
  },
);

const manager = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('listening', flush=True)
while True: print(s.recv(65536).decode(), flush=True)
`;

t.test(
  'what systemd hears',
  { skip: skip || skipUnlessInstalled('python3'), timeout: 120_000 },
  async (t) => {
    const { lab, etcd, flanneld } = await world(t);
    const h1 = lab.host('h1');
    const socket = path.join(lab.directory, 'notify');
    const systemd = Background.start(['python3', '-c', manager, socket]);
    t.teardown(() => systemd.stop());
    await awaitCondition('the listener', () => systemd.stdout.startsWith('listening'));
    const heard = (): readonly string[] => systemd.stdout.trimEnd().split('\n').slice(1);

    const d1 = flanneld(h1, [], [`NOTIFY_SOCKET=${socket}`, 'WATCHDOG_USEC=400000']);
    await awaitCondition(
      'the status',
      () => heard().some((line) => line.startsWith('STATUS=waiting: CONFIG_MISSING')),
      {
        timeoutMs: 30_000,
      },
    );
    t.notOk(heard().includes('READY=1'), 'not before it forwards');
    await etcd.ctl('put', '/coreos.com/network/config', config);
    await awaitCondition('readiness', () => heard().includes('READY=1'), { timeoutMs: 30_000 });
    t.match(readFileSync(d1.subnetFile, 'utf8'), /^FLANNEL_SUBNET=/m, 'the subnet file is there by then');
    const address = await d1.address();
    await awaitCondition('the status', () => heard().includes(`STATUS=forwarding, ${address}/24, 0 peers`));
    const beats = (): number => heard().filter((line) => line === 'WATCHDOG=1').length;
    const before = beats();
    await awaitCondition('the watchdog', () => beats() >= before + 3, { timeoutMs: 30_000 });
    t.equal(await d1.end(), 0);
    t.equal(heard().filter((line) => line === 'READY=1').length, 1);
    await awaitCondition('the end', () => heard().includes('STOPPING=1'));
  },
);
