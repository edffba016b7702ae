// The engine's life: what it makes, what it refuses, what it leaves. In a network namespace of its own.

import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';

import { Engine, type EngineConfig, type EnginePeer } from '../../src/engine/engine.ts';
import { features } from '../../src/engine/feature.ts';
import { KerseyError, type ErrorCode } from '../../src/errors.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import { native } from '../../src/native/loader.ts';
import { inOwnNetns } from '../lib/own-netns.ts';
import { skipUnlessTun } from '../lib/requirements.ts';

const ip = (...args: readonly string[]): string =>
  execFileSync('ip', args, { encoding: 'utf8', stdio: 'pipe' });

const links = (): readonly string[] =>
  (JSON.parse(ip('-j', 'link')) as { ifname: string }[]).map((link) => link.ifname);

const config: EngineConfig = {
  device: 'flannel.1',
  vni: 1,
  port: 8472,
  local: '127.0.0.1',
  vtepMac: '02:00:00:00:00:01',
  mtu: 1450,
};

const open = (t: Test, changes: Partial<EngineConfig> = {}): Engine => {
  const engine = Engine.open({ ...config, ...changes });
  t.teardown(() => {
    engine.close();
  });
  return engine;
};

const refused = (t: Test, code: ErrorCode, act: () => unknown): void => {
  try {
    act();
    t.fail(`expected ${code}`);
  } catch (error) {
    t.equal(KerseyError.from(error).code, code);
  }
};

const threads = (): readonly string[] => readdirSync('/proc/self/task');
const descriptors = (): readonly string[] => readdirSync('/proc/self/fd');

function suite(skip: string | false): void {
  ip('link', 'set', 'lo', 'up');

  t.test(
    'opening makes the device and closing removes it, with threads and descriptors',
    { skip },
    async (t) => {
      native();
      const before = { threads: threads().length, descriptors: descriptors().length };
      const engine = Engine.open(config);
      t.ok(links().includes('flannel.1'));
      t.same(engine.state(), { kind: 'running' });
      t.equal(threads().length, before.threads + 2, 'two threads a worker');
      engine.close();
      engine.close();
      t.same(engine.state(), { kind: 'closed' });
      t.notOk(links().includes('flannel.1'));
      t.equal(threads().length, before.threads);
      t.equal(descriptors().length, before.descriptors);
    },
  );

  t.test('an existing device is not touched', { skip }, (t) => {
    ip('tuntap', 'add', 'dev', 'flannel.1', 'mode', 'tun');
    refused(t, 'DEVICE_TAKEN', () => Engine.open(config));
    t.ok(links().includes('flannel.1'));
    ip('link', 'delete', 'flannel.1');
    t.end();
  });

  t.test('a taken port is refused, also with several workers, and no device stays', { skip }, (t) => {
    for (const workers of [1, 2]) {
      const first = Engine.open({ ...config, workers });
      refused(t, 'PORT_IN_USE', () => Engine.open({ ...config, workers, device: 'flannel.2' }));
      t.notOk(links().includes('flannel.2'));
      first.close();
    }
    t.end();
  });

  t.test('an address that is not here is refused and no device stays', { skip }, (t) => {
    refused(t, 'ADDRESS_NOT_LOCAL', () => Engine.open({ ...config, local: '192.0.2.77' }));
    t.notOk(links().includes('flannel.1'));
    t.end();
  });

  t.test('every feature can be switched off, and says so', { skip }, (t) => {
    const engine = open(t, { disable: features });
    const states = engine.stats().features;
    t.same(
      states.map((feature) => feature.name),
      features,
      'the same list in C and TypeScript',
    );
    for (const feature of states) {
      t.equal(feature.on, false, feature.name);
      t.match(feature.reason, /switched off|needs/);
    }
    t.end();
  });

  t.test('peers come and go; counters of those that stay live on', { skip }, async (t) => {
    const engine = open(t);
    ip('link', 'set', 'flannel.1', 'up');
    ip('address', 'add', '10.5.1.0/32', 'dev', 'flannel.1');
    ip('route', 'add', '10.5.0.0/16', 'dev', 'flannel.1');
    const peer = (n: number) => ({
      prefix: `10.5.${String(n)}.0/24`,
      outer: '127.0.0.2',
      vtepMac: '02:00:00:00:00:02',
    });
    const sentTo = (prefix: string): bigint =>
      engine.stats().peers.find((stats) => stats.prefix === prefix)?.txPackets ?? -1n;
    // Nobody answers: what counts is what leaves. ping's exit status is of no interest.
    const send = (address: string): void => {
      spawnSync('ping', ['-c', '1', '-W', '0.1', address], { stdio: 'ignore' });
    };
    engine.setPeers({ peers: [peer(2), peer(3)], local: ['10.5.1.0/24'] });
    send('10.5.2.7');
    await awaitCondition('a packet to 10.5.2.0/24', () => (sentTo('10.5.2.0/24') === 1n ? true : undefined));
    engine.setPeers({ peers: [peer(4), peer(2)], local: ['10.5.1.0/24'] });
    t.equal(sentTo('10.5.2.0/24'), 1n, 'a peer that stays keeps its counters');
    t.equal(sentTo('10.5.3.0/24'), -1n, 'a peer that left is gone');
    engine.setPeers({ peers: [peer(3)], local: ['10.5.1.0/24'] });
    t.equal(sentTo('10.5.3.0/24'), 0n, 'one that comes back begins anew');
    send('10.5.2.7');
    await awaitCondition('a drop', () => (engine.stats().drops['tx_no_peer'] === 1n ? true : undefined));
    refused(t, 'SUBNET_OVERLAP', () => {
      engine.setPeers({ peers: [peer(5), peer(5)], local: [] });
    });
    t.equal(engine.stats().peers.length, 1, 'after a refusal the old table stays');
  });

  t.test('a table in which something is wrong is refused, and the old one stays', { skip }, (t) => {
    const engine = open(t);
    const good = { prefix: '10.5.2.0/24', outer: '127.0.0.2', vtepMac: '0A:00:00:00:fF:02' };
    engine.setPeers({ peers: [good], local: [] });
    t.equal(engine.stats().peers.length, 1, 'digits may be capitals');
    const long = '1'.repeat(100);
    for (const [wrong, name] of [
      [{ prefix: '10.5.3.0' }, '10.5.3.0'],
      [{ prefix: '/24' }, 'an IP address'],
      [{ prefix: '10.5.3.0/33' }, '10.5.3.0/33'],
      [{ prefix: '10.5.3.0/' }, '10.5.3.0/'],
      [{ prefix: '10.5.3.0/8x' }, '10.5.3.0/8x'],
      [{ prefix: '10.5.3.0/ 8' }, '10.5.3.0/ 8'],
      [{ prefix: '10.5.3.0/+8' }, '10.5.3.0/+8'],
      [{ prefix: long }, '111'],
      [{ prefix: `10.5.3.0\u0000/24` }, 'prefix'],
      [{ outer: '127.0.0.256' }, '127.0.0.256'],
      [{ outer: `127.0.0.3${' '.repeat(100)}` }, '127.0.0.3'],
      [{ outer: 5 }, '5: expected an IP address'],
      [{ vtepMac: '02:00:00:00:00' }, '02:00:00:00:00'],
      [{ vtepMac: '02:00:00:00:00:0g' }, '02:00:00:00:00:0g'],
      [{ vtepMac: '02:00:00:00:00:011' }, '02:00:00:00:00:011'],
      [{ vtepMac: '02-00-00-00-00-01' }, '02-00-00-00-00-01'],
      [{ vtepMac: '' }, 'has no VtepMAC'],
      [{ outer: '127.0.0.3;0a:00:00:00:00:03' }, '0a:00:00:00:00:03;'],
      [{ vtepMac: '0a:00:00:00:00:03\n10.5.4.0/24;127.0.0.4;0a:00:00:00:00:04' }, 'as many lines as peers'],
      [{ vtepMac: null }, 'null: expected a MAC address'],
    ] as const) {
      const peers = [good, { ...good, prefix: '10.5.3.0/24', ...wrong }] as readonly EnginePeer[];
      t.throws(
        () => {
          engine.setPeers({ peers, local: [] });
        },
        { message: name },
        JSON.stringify(wrong).slice(0, 50),
      );
      t.equal(engine.stats().peers.length, 1);
    }
    t.end();
  });

  t.test('peers need a VtepMAC with VXLAN, on the udp wire they have none', { skip }, (t) => {
    const table = { peers: [{ prefix: '10.5.2.0/24', outer: '127.0.0.2' }], local: [] };
    const vxlan = open(t);
    refused(t, 'ADDRESS_INVALID', () => {
      vxlan.setPeers(table);
    });
    t.equal(vxlan.stats().peers.length, 0, 'the old table stays');
    const { device, port, local, mtu } = { ...config, device: 'flannel0', port: 8285 };
    const udp = Engine.open({ wire: 'udp', device, port, local, mtu });
    udp.setPeers(table);
    t.equal(udp.stats().peers.length, 1);
    udp.close();
    t.end();
  });

  t.test('what cannot be forwarded is answered by ICMP', { skip }, (t) => {
    const engine = open(t, { mtu: 1450 });
    ip('link', 'set', 'flannel.1', 'mtu', '9000', 'up');
    ip('address', 'add', '10.5.1.0/32', 'dev', 'flannel.1');
    ip('-6', 'address', 'add', 'fd00:5:1::/128', 'dev', 'flannel.1', 'nodad');
    ip('route', 'add', '10.5.0.0/16', 'dev', 'flannel.1');
    ip('-6', 'route', 'add', 'fd00:5::/32', 'dev', 'flannel.1');
    const peers = ['10.5.2.0/24', 'fd00:5:2::/64'].map((prefix) => ({
      prefix,
      outer: '127.0.0.2',
      vtepMac: '02:00:00:00:00:02',
    }));
    engine.setPeers({ peers, local: [] });
    const ping = (...args: readonly string[]): string =>
      spawnSync('ping', ['-c', '1', '-W', '1', ...args], { encoding: 'utf8' }).stdout;
    t.match(ping('10.5.9.9'), /From 10\.5\.9\.9 .*Destination Net Unreachable/);
    t.match(ping('fd00:5:9::9'), /From fd00:5:9::9 .*Destination unreachable: No route/);
    t.match(ping('-M', 'do', '-s', '4000', '10.5.2.9'), /Frag needed and DF set \(mtu = 1450\)/);
    t.match(ping('-M', 'do', '-s', '4000', 'fd00:5:2::9'), /Packet too big: mtu=1450/);
    const { drops, counters } = engine.stats();
    t.equal(drops['tx_no_peer'], 2n);
    t.equal(drops['tx_too_big'], 2n);
    t.equal(counters['icmp_sent'], 4n);
    t.end();
  });

  t.test('a deleted device is noticed', { skip }, async (t) => {
    const engine = open(t);
    ip('link', 'delete', 'flannel.1');
    await awaitCondition('the engine to notice', () => (engine.state().kind === 'failed' ? true : undefined));
    t.same(engine.state(), { kind: 'failed', reason: 'the device flannel.1 was deleted' });
  });
}

if (inOwnNetns(fileURLToPath(import.meta.url))) suite(skipUnlessTun());
