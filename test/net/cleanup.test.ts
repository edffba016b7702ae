// `kersey cleanup` on a host of a lab: what a killed daemon, other backends and flannel have left goes, and everything
// else is as it was before, to the byte, as ip, nft and iptables tell it.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';

import type { RunResult } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { Daemon, kersey } from '../lib/daemon.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';

const skip = skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('nft', 'iptables', 'ip6tables');

interface World {
  readonly lab: Lab;
  readonly h1: Host;
  readonly directory: string;
  readonly subnetFile: string;
  readonly key: string;
  readonly start: (...more: readonly string[]) => Daemon;
  readonly cleanup: (...more: readonly string[]) => Promise<RunResult>;
}

async function world(t: Test): Promise<World> {
  const lab = await Lab.open({ hosts: ['h1', 'h2'] });
  t.teardown(() => lab.close());
  const store = path.join(lab.directory, 'network.json');
  const config = {
    Network: '10.5.0.0/16',
    EnableIPv6: true,
    IPv6Network: 'fd00:5::/48',
    Backend: { Type: 'vxlan' },
  };
  const peer = {
    PublicIP: lab.host('h2').address4,
    PublicIPv6: lab.host('h2').address6,
    BackendType: 'vxlan',
    BackendData: { VNI: 1, VtepMAC: '0e:00:00:00:00:02' },
    BackendV6Data: { VNI: 1, VtepMAC: '0e:00:00:00:00:03' },
  };
  writeFileSync(store, JSON.stringify({ config, leases: { '10.5.2.0-24&fd00:5:0:2::-64': peer } }));
  const h1 = lab.host('h1');
  const directory = path.join(lab.directory, 'h1');
  const subnetFile = path.join(directory, 'subnet.env');
  const key = path.join(directory, 'wgkey');
  const cleanup = (...more: readonly string[]): Promise<RunResult> =>
    h1.exec(
      [
        ...['env', '-u', 'NODE_OPTIONS', ...kersey, 'cleanup', '--subnet-file', subnetFile],
        ...['--run-dir', path.join(directory, 'run'), '--state-dir', path.join(directory, 'state')],
        ...['--wireguard-key', key, ...more],
      ],
      { anyExit: true },
    );
  const start = (...more: readonly string[]): Daemon =>
    new Daemon(h1, store, directory, ['--iface', 'eth0', ...more]);
  return { lab, h1, directory, subnetFile, key, start, cleanup };
}

/** All that there is on the host, without what changes by itself. */
async function everything(h1: Host): Promise<string> {
  const parts = [
    'ip -j -d link',
    'ip -j address',
    'ip -j -4 route show table all',
    'ip -j -6 route show table all',
    'ip -j rule',
    'nft list ruleset',
    'iptables-save',
    'ip6tables-save',
    'iptables-legacy-save 2>/dev/null',
    'sysctl -a 2>/dev/null | grep -E "^net\\.ipv[46]\\.(ip_forward|conf\\.)" | grep -v stable_secret',
  ];
  const { stdout } = await h1.exec(['sh', '-c', parts.map((part) => `${part}; echo`).join('; ')]);
  return stdout
    .replaceAll('},{', '},\n{')
    .replace(/^#.*\n/gm, '')
    .replace(/\[\d+:\d+\]/g, '')
    .replace(/packets \d+ bytes \d+/g, '');
}

/** The kernel has made up its mind about the devices. */
async function settled(h1: Host, ...down: readonly string[]): Promise<void> {
  await awaitCondition('the devices to settle', async () => {
    const links = await h1.ipJson<{ ifname: string; operstate: string }[]>('link');
    const local = await h1.ipJson<{ dst: string; dev: string }[]>('-6', 'route', 'show', 'table', 'local');
    return (
      links.every(({ ifname, operstate }) => !down.includes(ifname) || operstate === 'DOWN') &&
      links.some(({ ifname, operstate }) => ifname === 'eth0' && operstate === 'UP') &&
      local.some(({ dst, dev }) => dev === 'eth0' && dst.startsWith('fe80::') && dst !== 'fe80::')
    );
  });
}

/** What looks a little like ours, and is not. */
async function makeForeign(h1: Host): Promise<void> {
  await h1.ip(
    'link add flannel.9 type bridge',
    'link add flannelx type bridge',
    'tuntap add dev tun0 mode tun',
    'link add cni0 type bridge',
    'route add 10.9.0.0/16 via 192.168.78.200',
    'route add 10.10.0.0/16 via 192.168.78.200 proto static',
    'route add 10.11.0.0/16 via 192.168.78.200 proto 85 table 100',
  );
  await h1.exec(['nft', '-f', '-'], {
    input:
      'table ip theirs { chain post { type nat hook postrouting priority 100; ip saddr 172.17.0.0/16 masquerade; }; }\n' +
      'table inet flannel-ipv4 { chain mine { }; }\n',
  });
  for (const program of ['iptables', 'ip6tables']) {
    await h1.exec([program, '-A', 'FORWARD', '-i', 'cni0', '-j', 'ACCEPT']);
    await h1.exec([program, '-t', 'nat', '-A', 'POSTROUTING', '-o', 'cni0', '-j', 'RETURN']);
  }
}

/** What flannel and our other backends leave. @returns the lines that name it */
async function makeLeftovers(h1: Host): Promise<string[]> {
  const lines = [
    'route 10.5.40.0/24 via 192.168.78.2 dev eth0 proto 85',
    'route 10.5.40.0/24 via 192.168.78.2 dev eth0 proto 85 metric 7',
    'route fd00:5:0:40::/64 via fd78::2 dev eth0 proto 85 metric 1024',
    'device flannel0',
    'device flannel-v6.8',
  ];
  await h1.ip(
    'route add 10.5.40.0/24 via 192.168.78.2 proto 85',
    'route add 10.5.40.0/24 via 192.168.78.2 proto 85 metric 7',
    'route add fd00:5:0:40::/64 via fd78::2 proto 85',
    'tuntap add dev flannel-v6.8 mode tun',
    'tuntap add dev flannel0 mode tun',
    'address add 10.5.50.0/32 dev flannel0',
    'link set flannel0 up',
    'route add 10.5.0.0/16 dev flannel0',
  );
  // Not every kernel has these.
  for (const [name, kind] of [
    ['flannel.7', 'vxlan id 7 dstport 8472'],
    ['flannel-v6.7', 'vxlan id 7 dstport 8473 local fd78::1'],
    ['flannel.ipip', 'ipip local 192.168.78.1'],
    ['flannel-wg', 'wireguard'],
  ] as const) {
    const made = await h1.exec(['ip', 'link', 'add', name, 'type', ...kind.split(' ')], { anyExit: true });
    if (made.exitCode === 0) lines.push(`device ${name}`);
  }
  return lines;
}

for (const mode of ['nft', 'iptables'] as const) {
  t.test(`after kill -9, with ${mode}`, { skip }, async (t) => {
    const { h1, directory, subnetFile, key, start, cleanup } = await world(t);
    await makeForeign(h1);
    await settled(h1);
    const before = await everything(h1);

    const none = await cleanup();
    t.same([none.exitCode, none.stderr], [0, '']);
    t.equal(none.stdout, 'left flannel.9: it is no vxlan or tun, but bridge\nnothing to remove\n');

    const daemon = start('--ip-masq', '--firewall', mode);
    const { lease } = await daemon.ready();
    const refused = await cleanup();
    t.equal(refused.exitCode, 1);
    t.match(
      refused.stderr,
      /^kersey: DAEMON_RUNNING: a daemon runs in this network namespace \(.*\.sock\); stop it/,
    );
    const blind = await cleanup('--run-dir', path.join(directory, 'elsewhere'));
    t.equal(blind.exitCode, 1);
    t.match(blind.stderr, /^kersey: DAEMON_RUNNING: a process has the device flannel\S* open; /);
    t.match(await daemon.status(), { state: 'ok' }, 'it goes on undisturbed');

    const [socket = ''] = daemon.sockets();
    await daemon.end('SIGKILL');
    const devices = await makeLeftovers(h1);
    mkdirSync(path.join(directory, 'state'), { recursive: true });
    const snapshot = path.join(directory, 'state', 'etcd-0123456789ab.json');
    writeFileSync(snapshot, '{}');
    writeFileSync(path.join(directory, 'state', 'notes.txt'), 'mine');
    writeFileSync(key, 'MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=', { mode: 0o400 });
    writeFileSync(path.join(directory, '.subnet.env.4711'), 'FLANNEL_NETW');
    await settled(h1, 'flannel0');
    const dirty = await everything(h1);

    const rehearsal = await cleanup('--dry-run', '--state');
    t.same([rehearsal.exitCode, rehearsal.stderr], [0, '']);
    t.equal(await everything(h1), dirty, 'a dry run changes nothing');
    t.ok(existsSync(socket) && existsSync(subnetFile) && existsSync(snapshot));

    const done = await cleanup('--state');
    t.same([done.exitCode, done.stderr], [0, '']);
    t.equal(
      rehearsal.stdout.replaceAll('would remove', 'removed'),
      done.stdout,
      'and tells what is done then',
    );
    const files = [socket, subnetFile, path.join(directory, '.subnet.env.4711'), snapshot, key];
    for (const line of [...devices, ...files.map((file) => `file ${file}`)]) {
      t.ok(done.stdout.includes(`removed the ${line}\n`), line);
    }
    t.match(
      done.stdout,
      mode === 'nft' ? /^removed nft table flannel-ipv4$/m : /^removed the rules of iptables/m,
    );
    const subnets = [lease.subnet, lease.subnet6].join(',');
    t.ok(
      done.stdout.endsWith(`to give it up: kersey leases release ${subnets} --store STORE\n`),
      done.stdout,
    );
    t.equal(await everything(h1), before);
    t.same(readdirSync(directory).sort(), ['state']);
    t.same(readdirSync(path.join(directory, 'state')), ['notes.txt']);

    t.match((await cleanup('--state')).stdout, /^nothing to remove$/m);
  });
}

t.test('what was written by others stays; JSON', { skip }, async (t) => {
  const { h1, subnetFile, directory, key, cleanup } = await world(t);
  mkdirSync(directory, { recursive: true });
  const mine = 'FLANNEL_SUBNET=10.5.1.1/24\nFLANNEL_MTU=1450\nexport PATH=/mine\n';
  writeFileSync(subnetFile, mine);
  writeFileSync(key, 'not a key');
  await h1.ip('route add 10.5.40.0/24 via 192.168.78.2 proto 85');
  const { stdout, exitCode } = await cleanup('--state', '-o', 'json');
  t.equal(exitCode, 0);
  t.same(JSON.parse(stdout), {
    dryRun: false,
    removed: [{ kind: 'route', what: '10.5.40.0/24 via 192.168.78.2 dev eth0 proto 85' }],
    left: [
      { kind: 'file', what: subnetFile, why: 'its content is not ours' },
      { kind: 'file', what: key, why: 'it is no key' },
    ],
    problems: [],
    lease: '10.5.1.0/24',
  });
  t.equal(readFileSync(subnetFile, 'utf8'), mine);
});

t.test('what cannot be removed is told, and the rest is removed', { skip }, async (t) => {
  const { h1, cleanup } = await world(t);
  await h1.ip(
    'route add 10.5.41.0/24 proto 85 nexthop via 192.168.78.2 nexthop via 192.168.78.3',
    'route add 10.5.40.0/24 via 192.168.78.2 proto 85',
  );
  const { exitCode, stdout, stderr } = await cleanup();
  t.equal(exitCode, 1);
  t.match(stdout, /^removed the route 10\.5\.40\.0\/24 via/);
  t.match(
    stderr,
    /^kersey: NETLINK: cannot delete the route 10\.5\.41\.0\/24 proto 85: it has no one device; ip route del 10\.5\.41\.0\/24\n$/,
  );
});

t.test('the subnet file of a daemon in another namespace is its own', { skip }, async (t) => {
  const { lab, start, subnetFile, directory } = await world(t);
  const daemon = start();
  await daemon.ready();
  const argv = ['--subnet-file', subnetFile, '--run-dir', path.join(directory, 'run')];
  const { exitCode, stdout } = await lab
    .host('h2')
    .exec(['env', '-u', 'NODE_OPTIONS', ...kersey, 'cleanup', ...argv], { anyExit: true });
  t.equal(exitCode, 0);
  t.match(
    stdout,
    /^left .*subnet\.env: the daemon at .*, in another network namespace, has this subnet\nnothing to remove\n$/,
  );
  t.ok(existsSync(subnetFile));
  t.match(await daemon.status(), { state: 'ok' });
});
