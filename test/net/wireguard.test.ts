// WireGuard devices between hosts of a lab: traffic, changes of peers, and damage that the next comparison mends.

import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';

import type { PlanInput } from '../../src/backend/backend.ts';
import type { WireguardDevicePlan } from '../../src/backend/plan.ts';
import { loadKey } from '../../src/backend/wireguard/key.ts';
import type { KeyPair } from '../../src/backend/wireguard/key.ts';
import { WireguardBackend } from '../../src/backend/wireguard/wireguard.ts';
import { parseNetworkConfig } from '../../src/config/network.ts';
import type { JsonObject } from '../../src/config/json.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import { Lab } from '../../src/lab/lab.ts';
import { ping } from '../../src/lab/measure.ts';
import { PayloadReceiver } from '../../src/lab/payload.ts';
import { parseCidr } from '../../src/net/cidr.ts';
import type { Lease } from '../../src/store/lease.ts';
import { freeze } from '../lib/freeze.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessWireguard } from '../lib/requirements.ts';
import { WireguardHost } from '../lib/wireguard-host.ts';

const skip =
  skipUnlessRoot() || skipUnlessInstalled('ip', 'ping', 'wg', 'nsenter') || (await skipUnlessWireguard());

/** What the two hosts of a lab would plan, by their leases; each has the other for its only peer. */
class Pair {
  readonly lab: Lab;
  readonly drivers: readonly [WireguardHost, WireguardHost];
  readonly keys: readonly [KeyPair, KeyPair];
  readonly leases: [Lease, Lease];
  readonly #backends: readonly [WireguardBackend, WireguardBackend];

  private constructor(lab: Lab, backend: JsonObject) {
    const config = parseNetworkConfig({
      ...{ Network: '10.5.0.0/16', EnableIPv6: true, IPv6Network: 'fd00:5::/48' },
      Backend: { Type: 'wireguard', ...backend },
    });
    const wireguard = config.backend;
    if (wireguard.type !== 'wireguard') throw new TypeError('another backend');
    this.lab = lab;
    const [a, b] = [lab.host('h1'), lab.host('h2')];
    this.keys = [loadKey(path.join(lab.directory, 'key1')), loadKey(path.join(lab.directory, 'key2'))];
    const make = (key: KeyPair): WireguardBackend =>
      new WireguardBackend(wireguard, { config, options: {}, dataplane: 'kernel', underlay: {} }, key);
    this.#backends = [make(this.keys[0]), make(this.keys[1])];
    this.drivers = [WireguardHost.open(a), WireguardHost.open(b)];
    this.leases = [this.#lease(0), this.#lease(1)];
  }

  static async open(t: Test, backend: JsonObject = {}): Promise<Pair> {
    const lab = await Lab.open({ hosts: ['h1', 'h2'], join: 'direct' });
    t.teardown(() => lab.close());
    return new Pair(lab, backend);
  }

  plans(of: 0 | 1): readonly WireguardDevicePlan[] {
    const { device, address4, address6 } = this.drivers[of].host;
    const input: PlanInput = {
      own: this.leases[of],
      leases: this.leases,
      host: { iface: device, ifaceMtu: 1500, address4, address6, attached: [] },
    };
    return this.#backends[of].plan(input).devices.map((plan) => plan as WireguardDevicePlan);
  }

  /** The first device's plan. */
  plan(of: 0 | 1): WireguardDevicePlan {
    const [plan] = this.plans(of);
    if (plan === undefined) throw new RangeError('no device');
    return plan;
  }

  async applyBoth(t: Test): Promise<void> {
    for (const of of [0, 1] as const) {
      const { problems, repairs } = await this.drivers[of].apply(this.plan(of));
      t.same([problems, repairs], [[], []], 'done, and nothing of it is a repair');
    }
  }

  async answers(t: Test, from: 0 | 1, address: string, what: string): Promise<void> {
    await awaitCondition(
      what,
      async () => (await ping(this.drivers[from].host, address, { count: 1 })).received === 1,
      { timeoutMs: 20_000 },
    );
    t.pass(what);
  }

  #lease(of: 0 | 1): Lease {
    const { address4, address6 } = this.drivers[of].host;
    const backend = this.#backends[of];
    return {
      subnet: parseCidr(`10.5.${of + 1}.0/24`),
      subnet6: parseCidr(`fd00:5:0:${of + 1}::/64`),
      attrs: {
        ...{ publicIP: address4, publicIPv6: address6, backendType: 'wireguard' },
        ...{ backendData: backend.leaseData(4), backendV6Data: backend.leaseData(6) },
      },
    };
  }
}

const psk = Buffer.alloc(32, 7).toString('base64');

for (const [what, backend, addresses] of [
  ['a device for IPv4', { PSK: psk, PersistentKeepaliveInterval: 25 }, ['10.5.1.0', '10.5.2.0']],
  ['one device over IPv6', { Mode: 'ipv6' }, ['10.5.1.0', '10.5.2.0', 'fd00:5:0:1::', 'fd00:5:0:2::']],
  [
    'one device over IPv4',
    { Mode: 'ipv4', ListenPort: 9 },
    ['10.5.1.0', '10.5.2.0', 'fd00:5:0:1::', 'fd00:5:0:2::'],
  ],
] as const) {
  t.test(`${what} carries ping and TCP both ways`, { skip }, async (t) => {
    const pair = await Pair.open(t, backend);
    await pair.applyBoth(t);
    t.comment(`made by ${(await pair.drivers[0].apply(pair.plan(0))).maker}`);
    for (const [index, address] of addresses.entries()) {
      const to = (index % 2) as 0 | 1;
      const from = to === 0 ? 1 : 0;
      await pair.answers(t, from, address, `an answer from ${address}`);
      const receiver = await PayloadReceiver.open(pair.drivers[to].host, address);
      const report = await receiver.tcpFrom(pair.drivers[from].host, [1, 1500, 100_000, 2_000_000]);
      t.same(report.faults, [], `TCP to ${address}`);
      await receiver.close();
    }
    const [link] = await pair.drivers[0].host.ipJson<readonly { mtu: number }[]>(
      'link',
      'show',
      'flannel-wg',
    );
    t.equal(link?.mtu, 1420);
    const routes = await pair.drivers[0].host.ipJson<readonly { dst: string; scope: string }[]>('route');
    t.match(
      routes.filter(({ dst }) => dst.startsWith('10.5')),
      [{ dst: '10.5.0.0/16', dev: 'flannel-wg', scope: 'link' }],
      'one route for the whole network',
    );
    const [, peer] = await pair.drivers[0].show('flannel-wg', 'dump');
    const wanted = pair.plan(0).peers[0];
    t.same(
      peer && [peer[0], peer[1], peer[2]],
      [pair.keys[1].publicKey, 'PSK' in backend ? psk : '(none)', wanted?.endpoint],
      '`wg` shows the peer as planned',
    );
    t.same((await pair.drivers[0].apply(pair.plan(0))).repairs, [], 'and then there is nothing left to do');
  });
}

t.test('peers come, change and go with the leases', { skip }, async (t) => {
  const pair = await Pair.open(t);
  const [first, second] = pair.drivers;
  await pair.applyBoth(t);
  await pair.answers(t, 0, '10.5.2.0', 'the peer answers');

  const { address4 } = second.host;
  await second.host.ip(
    `address add 192.168.78.99/24 dev ${second.host.device}`,
    `address del ${address4}/24 dev ${second.host.device}`,
  );
  await second.host.ip(`address replace 192.168.78.99/24 dev ${second.host.device}`);
  pair.leases[1] = { ...pair.leases[1], attrs: { ...pair.leases[1].attrs, publicIP: '192.168.78.99' } };
  t.same((await first.apply(pair.plan(0))).repairs, [], 'a changed lease is no repair');
  t.same(await first.show('flannel-wg', 'endpoints'), [[pair.keys[1].publicKey, '192.168.78.99:51820']]);
  await pair.answers(t, 0, '10.5.2.0', 'the peer answers from its new address');

  const alone = { ...pair.plan(0), peers: [] };
  t.same((await first.apply(alone)).repairs, [], 'a lease that went is no repair');
  t.same(await first.show('flannel-wg', 'peers'), []);
  await first.apply(pair.plan(0));
  t.same(await first.show('flannel-wg', 'peers'), [[pair.keys[1].publicKey]]);
  await pair.answers(t, 0, '10.5.2.0', 'the peer is back');
});

t.test('damage is mended and told', { skip }, async (t) => {
  const pair = await Pair.open(t, { PSK: psk });
  const [first] = pair.drivers;
  const theirs = pair.keys[1].publicKey;
  await pair.applyBoth(t);
  await pair.answers(t, 0, '10.5.2.0', 'the peer answers');
  const before = await config(first);

  const zeros = path.join(pair.lab.directory, 'zeros');
  writeFileSync(zeros, Buffer.alloc(32, 1).toString('base64'));
  const foreign = Buffer.alloc(32, 9).toString('base64');
  for (const [what, argv, repair] of [
    ['a removed peer', ['peer', theirs, 'remove'], /^peer x1: .*put right the peer 192\.168\.78\.2:51820$/],
    ['other allowed addresses', ['peer', theirs, 'allowed-ips', '10.5.7.0/24'], /^peer x1/],
    ['another pre-shared key', ['peer', theirs, 'preshared-key', zeros], /^peer x1/],
    ['a foreign peer', ['peer', foreign, 'allowed-ips', '10.5.9.0/24'], /^peer x1: .*no lease calls for$/],
    ['another private key', ['private-key', zeros], /^device x1: .*private key$/],
    ['another port', ['listen-port', '1234'], /^device x1: .*the port 51820$/],
  ] as const) {
    await first.exec(['wg', 'set', 'flannel-wg', ...argv]);
    t.notSame(await config(first), before, `${what}: done`);
    const { problems, repairs } = await first.apply(pair.plan(0));
    t.same(problems, []);
    t.match(repairs, [repair], `${what}: told`);
    t.same(await config(first), before, `${what}: mended`);
  }
  await pair.answers(t, 0, '10.5.2.0', 'the peer answers again');
});

t.test('a device that is lost is made again', { skip }, async (t) => {
  const pair = await Pair.open(t);
  const [first] = pair.drivers;
  await pair.applyBoth(t);
  await pair.answers(t, 0, '10.5.2.0', 'the peer answers');

  await first.host.ip('link delete flannel-wg');
  const { problems, repairs, pid, maker } = await first.apply(pair.plan(0));
  t.same(problems, []);
  t.match(repairs, [/^device x1: .*made again$/]);
  await pair.answers(t, 0, '10.5.2.0', 'deleted: the peer answers again');
  if (maker !== 'wireguard-go' || pid === null) return;

  await freeze(pid);
  const hung = await first.apply(pair.plan(0));
  t.match(hung.problems, [/wg show/], 'it hangs');
  const told: string[] = [];
  const later = await awaitCondition('the next try', async () => {
    const report = await first.apply(pair.plan(0));
    told.push(...report.repairs, ...report.problems);
    return report.problems.length === 0 && report;
  });
  t.match(told, [/wireguard-go of flannel-wg had ended.*made again$/]);
  await pair.answers(t, 0, '10.5.2.0', 'hung: the peer answers again');

  if (later.pid === null) throw new TypeError('no process');
  process.kill(later.pid, 'SIGKILL');
  await awaitCondition('the device to go', async () => {
    const links = await first.host.ipJson<readonly { ifname: string }[]>('link');
    return !links.some(({ ifname }) => ifname === 'flannel-wg');
  });
  await awaitCondition('the next try', async () => (await first.apply(pair.plan(0))).problems.length === 0);
  await pair.answers(t, 0, '10.5.2.0', 'killed: the peer answers again');
});

t.test('closing removes the device, and a killed daemon leaves none that matters', { skip }, async (t) => {
  const pair = await Pair.open(t);
  const [first, second] = pair.drivers;
  await pair.applyBoth(t);
  const { pid } = await first.apply(pair.plan(0));
  t.equal((await first.close()).state, 'closed');
  t.same(await ours(first), [], 'no device');
  t.same((await first.exec(['ls', '/run/wireguard'])).stdout, '', 'no control socket');
  if (pid !== null) t.throws(() => process.kill(pid, 0), { code: 'ESRCH' }, 'no process');

  await second.kill();
  const again = WireguardHost.open(second.host);
  t.same((await again.apply(pair.plan(1))).problems, [], 'the next one takes over');
});

t.test('a wireguard-go that nobody watches is replaced', { skip }, async (t) => {
  const pair = await Pair.open(t);
  const [first, second] = pair.drivers;
  // What a daemon leaves that was killed where no setpriv is. It goes into the background.
  const left = await first.exec(['wireguard-go', 'flannel-wg'], true);
  if (left.exitCode !== 0) {
    t.pass('one in the background', { skip: left.stderr });
    return;
  }
  const { problems, repairs } = await first.apply(pair.plan(0));
  t.same([problems, repairs], [[], []]);
  await second.apply(pair.plan(1));
  await pair.answers(t, 0, '10.5.2.0', 'the peer answers');
  await first.close();
  t.same((await first.exec(['ls', '/run/wireguard'])).stdout, '', 'neither has left its socket');
});

t.test('IPv6 has a device of its own in Mode separate', { skip }, async (t) => {
  const pair = await Pair.open(t);
  for (const of of [0, 1] as const) {
    const plan = pair.plans(of)[1];
    if (plan === undefined) throw new RangeError('no second device');
    t.same((await pair.drivers[of].apply(plan)).problems, []);
  }
  await pair.answers(t, 0, 'fd00:5:0:2::', 'the peer answers');
  t.same(await pair.drivers[0].show('flannel-wg-v6', 'endpoints'), [
    [pair.keys[1].publicKey, '[fd78::2]:51821'],
  ]);
});

t.test('no key is ever in a command line, and a comparison runs one program', { skip }, async (t) => {
  const pair = await Pair.open(t, { PSK: psk });
  const [first] = pair.drivers;
  const record = path.join(pair.lab.directory, 'record');
  const watched = path.join(pair.lab.directory, 'wg');
  const { stdout: real } = await first.exec(['sh', '-c', 'command -v wg']);
  writeFileSync(watched, `#!/bin/sh\necho "$@" >> ${record}\nexec ${real.trim()} "$@"\n`, { mode: 0o755 });
  const driver = WireguardHost.open(first.host, `PATH=${pair.lab.directory}:${process.env['PATH'] ?? ''}`);
  const lines = (): readonly string[] => {
    const text = readFileSync(record, 'utf8').trim().split('\n');
    writeFileSync(record, '');
    return text;
  };
  t.same((await driver.apply(pair.plan(0))).problems, []);
  const made = lines();
  t.same(made, ['--version', 'show flannel-wg dump', 'addconf flannel-wg /dev/stdin']);
  await driver.apply(pair.plan(0));
  t.same(lines(), ['show flannel-wg dump']);
  await driver.close();
});

t.test('what is in the way is named and stays', { skip }, async (t) => {
  const pair = await Pair.open(t);
  const [first, second] = pair.drivers;
  await first.host.ip('tuntap add dev flannel-wg mode tun');
  t.match((await first.apply(pair.plan(0))).problems, [
    /^DEVICE_TAKEN: a device flannel-wg exists .*kind tun/,
  ]);
  t.same(await ours(first), ['flannel-wg'], 'it is not ours to remove');
  await first.host.ip('tuntap del dev flannel-wg mode tun');

  const taker = second.host.spawn([
    process.execPath,
    ...['-e', `require('node:dgram').createSocket('udp4').bind(51820, () => console.log('bound'))`],
  ]);
  await awaitCondition('the port to be taken', () => taker.stdout.includes('bound'));
  t.match((await second.apply(pair.plan(1))).problems, [
    /^PORT_IN_USE: flannel-wg cannot listen on UDP port 51820/,
  ]);
  t.same(await ours(second), [], 'nothing is left of the try');
  await taker.stop();
  t.same((await second.apply(pair.plan(1))).problems, []);

  t.same((await first.apply(pair.plan(0))).problems, []);
  await pair.answers(t, 0, '10.5.2.0', 'the peer answers');
});

t.test('a host that lacks the programs says which', { skip }, async (t) => {
  const pair = await Pair.open(t);
  const bare = WireguardHost.open(pair.lab.host('h1'), 'PATH=/nonexistent');
  const { problems } = await bare.apply(pair.plan(0));
  t.match(problems, [/^TOOL_MISSING: the program 'wg' is not installed.*wireguard-tools/]);
  t.same(await ours(bare), []);
});

/** The part of `wg show dump` that we set. */
async function config(driver: WireguardHost): Promise<readonly (readonly string[])[]> {
  const [own = [], ...peers] = await driver.show('flannel-wg', 'dump');
  return [own, ...peers.map((fields) => [...fields.slice(0, 4), fields[7] ?? ''])];
}

async function ours({ host }: WireguardHost): Promise<readonly string[]> {
  const links = await host.ipJson<readonly { ifname: string }[]>('link');
  return links.map(({ ifname }) => ifname).filter((name) => name.startsWith('flannel'));
}
