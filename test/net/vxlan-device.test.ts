// The driver of the kernel's vxlan device in a namespace, judged by `ip` and `bridge`.

import { execFileSync, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import fc from 'fast-check';
import t from 'tap';

import type { VtepPeer, VxlanDevicePlan } from '../../src/backend/plan.ts';
import { KerseyError } from '../../src/errors.ts';
import { sourceCommand } from '../../src/lab/self.ts';
import { Lab } from '../../src/lab/lab.ts';
import { Netlink } from '../../src/netlink/client.ts';
import type { RepairKind } from '../../src/node/devices/driver.ts';
import { probeIpip, probeKernelVxlan } from '../../src/node/devices/kernel-probe.ts';
import { VxlanDevice } from '../../src/node/devices/vxlan-device.ts';
import type { VxlanNetlink } from '../../src/node/devices/vxlan-device.ts';
import { inOwnNetns } from '../lib/own-netns.ts';

function tool(name: string, args: readonly string[], input = ''): string {
  return execFileSync(name, args, { encoding: 'utf8', input, stdio: ['pipe', 'pipe', 'pipe'] });
}

function ip(line: string): string {
  return tool('ip', line.split(' '));
}

function batch(name: 'ip' | 'bridge', lines: readonly string[]): void {
  tool(name, ['-batch', '-'], lines.join('\n'));
}

/** Carries out what it can: what is damaged twice may be gone already. */
function damageBy(name: 'ip' | 'bridge', lines: readonly string[]): void {
  spawnSync(name, ['-force', '-batch', '-'], {
    input: lines.join('\n'),
    stdio: ['pipe', 'ignore', 'ignore'],
  });
}

// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller states what iproute2 documents
function json<T>(name: 'ip' | 'bridge', line: string): readonly T[] {
  const text = tool(name, ['-j', ...line.split(' ')]).trim();
  return text === '' ? [] : (JSON.parse(text) as T[]);
}

function refused(call: () => unknown): KerseyError {
  try {
    call();
  } catch (error) {
    if (error instanceof KerseyError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

interface Shown {
  readonly ifindex: number;
  readonly ifname: string;
  readonly address: string;
  readonly linkinfo?: { readonly info_kind: string; readonly info_data: Readonly<Record<string, unknown>> };
}

function shown(name: string): Shown {
  const [link] = json<Shown>('ip', `-d link show ${name}`);
  if (link === undefined) throw new Error(`no ${name}`);
  return link;
}

/** The permanent entries of both tables: `10.5.2.0 0e:...` and `0e:... 192.168.7.2`. */
function tables(
  family: 4 | 6,
  device: string,
): { neighbours: readonly string[]; forwarding: readonly string[] } {
  const neighbours = json<{ dst: string; lladdr?: string; state: readonly string[] }>(
    'ip',
    `-${family} neigh show dev ${device} nud all`,
  ).filter(({ state }) => state.includes('PERMANENT'));
  const forwarding = json<{ mac: string; dst?: string; port?: number; state: string }>(
    'bridge',
    `fdb show dev ${device}`,
  ).filter(({ state }) => state === 'permanent');
  return {
    neighbours: neighbours.map(({ dst, lladdr }) => `${dst} ${String(lladdr)}`).sort(),
    forwarding: forwarding
      .map(({ mac, dst, port }) => `${mac} ${String(dst)}${port === undefined ? '' : ` port ${port}`}`)
      .sort(),
  };
}

function tablesOf(peers: readonly VtepPeer[]): ReturnType<typeof tables> {
  return {
    neighbours: peers.map(({ address, vtepMac }) => `${address} ${vtepMac}`).sort(),
    forwarding: peers.map(({ vtepMac, outer }) => `${vtepMac} ${outer}`).sort(),
  };
}

function peer(family: 4 | 6, n: number): VtepPeer {
  const hex = n.toString(16).padStart(2, '0');
  return family === 4
    ? {
        prefix: `10.5.${n}.0/24`,
        address: `10.5.${n}.0`,
        outer: `192.168.7.${n}`,
        vtepMac: `0e:00:00:00:04:${hex}`,
      }
    : {
        ...{ prefix: `fd05:${n.toString(16)}::/32`, address: `fd05:${n.toString(16)}::` },
        ...{ outer: `fd07::${n.toString(16)}`, vtepMac: `0e:00:00:00:06:${hex}` },
      };
}

function planFor(family: 4 | 6, changes: Partial<VxlanDevicePlan> = {}): VxlanDevicePlan {
  return {
    kind: 'vxlan',
    name: family === 4 ? 'flannel.1' : 'flannel-v6.1',
    family,
    mtu: family === 4 ? 1450 : 1430,
    addresses: [],
    routes: [],
    vni: 1,
    port: 8472,
    local: family === 4 ? '192.168.7.1' : 'fd07::1',
    underlay: 'u0',
    mac: family === 4 ? '0e:2a:00:00:00:04' : '0e:2a:00:00:00:06',
    learning: false,
    gbp: false,
    peers: [],
    ...changes,
  };
}

function main(): void {
  const netlink = Netlink.open();
  t.teardown(() => {
    netlink.close();
  });
  const missing = probeKernelVxlan(netlink);
  if (missing !== undefined) {
    t.pass('the kernel vxlan device', { skip: `this kernel makes none: ${missing}` });
    return;
  }
  batch('ip', [
    'link set lo up',
    'link add u0 type veth peer name u1',
    'link set u0 up',
    'link set u1 up',
    'address add 192.168.7.1/24 dev u0',
    'address add fd07::1/64 dev u0 nodad',
  ]);

  /** A driver, what it repaired so far, and how many entries it asked to change since they were last counted. */
  const open = (): {
    driver: VxlanDevice;
    repairs: () => Partial<Record<RepairKind, number>>;
    told: string[];
    changes: () => number;
  } => {
    let counts: Partial<Record<RepairKind, number>> = {};
    let changed = 0;
    const told: string[] = [];
    const counting: VxlanNetlink = {
      link: (name) => netlink.link(name),
      links: () => netlink.links(),
      createLink: (create) => netlink.createLink(create),
      setLink: (device, change) => {
        netlink.setLink(device, change);
      },
      deleteLink: (device) => {
        netlink.deleteLink(device);
      },
      neighbours: (family, device) => netlink.neighbours(family, device),
      forwarding: (device) => netlink.forwarding(device),
      changeNeighbours: (operations) => {
        changed += operations.length;
        return netlink.changeNeighbours(operations);
      },
      changeForwarding: (operations) => {
        changed += operations.length;
        return netlink.changeForwarding(operations);
      },
    };
    const driver = new VxlanDevice({
      netlink: counting,
      onRepair: (kind, what, times = 1) => {
        counts[kind] = (counts[kind] ?? 0) + times;
        told.push(what);
      },
    });
    return {
      driver,
      told,
      repairs: () => {
        const sofar = counts;
        counts = {};
        return sofar;
      },
      changes: () => {
        const sofar = changed;
        changed = 0;
        return sofar;
      },
    };
  };

  t.test('the device is the one that flannel makes', async (t) => {
    for (const [family, flannel] of [
      [4, 'local 192.168.7.1'],
      [6, 'local fd07::1'],
    ] as const) {
      const plan = planFor(family);
      ip(
        `link add ${plan.name} mtu ${plan.mtu} address ${plan.mac} type vxlan id 1 dev u0 ${flannel}` +
          ' dstport 8472 nolearning ttl 0 tos 0 noproxy norsc nol2miss nol3miss',
      );
      const { ifindex: _, ...wanted } = shown(plan.name);
      ip(`link del ${plan.name}`);
      const { driver, repairs } = open();
      const link = driver.ensure(plan);
      const { ifindex, ...made } = shown(plan.name);
      t.same(made, wanted);
      t.equal(link.index, ifindex);
      t.equal(driver.ensure(plan).index, ifindex, 'it is made once');
      t.same(repairs(), {});
      t.same(driver.state(), { kind: 'running' });
      driver.close();
      t.same(driver.state(), { kind: 'closed' });
      t.equal(shown(plan.name).ifindex, ifindex, 'closing leaves it');
      t.equal(refused(() => driver.ensure(plan)).code, 'INTERNAL');
      const again = open();
      again.driver.ensure(plan);
      again.driver.remove();
      t.equal(netlink.link(plan.name), undefined);
    }
  });

  t.test('one that fits is adopted, and its MAC address set', async (t) => {
    const plan = planFor(4, { peers: [peer(4, 2)] });
    ip('link add flannel.1 mtu 1400 type vxlan id 1 dev u0 local 192.168.7.1 dstport 8472 nolearning');
    ip('link set flannel.1 up');
    ip('neigh add 10.5.99.0 lladdr 0e:00:00:00:00:99 dev flannel.1 nud permanent');
    const { ifindex } = shown('flannel.1');
    const { driver, repairs } = open();
    const link = driver.ensure(plan);
    t.equal(link.index, ifindex);
    t.equal(link.mac, plan.mac);
    t.equal(shown('flannel.1').address, plan.mac);
    t.same(driver.applyPeers(plan, link), []);
    t.same(tables(4, 'flannel.1'), tablesOf(plan.peers), 'what an earlier run left is gone');
    t.same(repairs(), {}, 'it had never been in order');
    ip('link set flannel.1 address 0e:2a:00:00:00:99');
    driver.applyPeers(plan, driver.ensure(plan));
    t.equal(shown('flannel.1').address, plan.mac);
    t.same(tables(4, 'flannel.1'), tablesOf(plan.peers));
    t.same(repairs(), { link: 1 }, 'the neighbours that went with the address are not counted');
    driver.remove();
  });

  t.test('one of the kind that does not fit is made again', async (t) => {
    const wanted = 'type vxlan id 1 dev u0 local 192.168.7.1 dstport 8472 nolearning';
    const others = [
      wanted.replace('id 1', 'id 2'),
      wanted.replace('8472', '4789'),
      wanted.replace('local 192.168.7.1', 'local 192.168.7.9'),
      wanted.replace('local 192.168.7.1 ', ''),
      wanted.replace('dev u0', 'dev u1'),
      wanted.replace('dev u0 ', ''),
      wanted.replace('nolearning', 'learning'),
      `${wanted} gbp`,
      `${wanted} l2miss`,
      `${wanted} remote 192.168.7.2`,
      `${wanted} group 239.1.1.1`,
      'type vxlan external dev u0 local 192.168.7.1 dstport 8472 nolearning',
    ];
    for (const other of others) {
      ip(`link add flannel.1 ${other}`);
      const { ifindex } = shown('flannel.1');
      const { driver, repairs } = open();
      const link = driver.ensure(planFor(4));
      t.not(link.index, ifindex, other);
      t.match(link.tunnel, { vni: 1, port: 8472, local: '192.168.7.1', learning: false, gbp: false });
      t.same(repairs(), {});
      driver.remove();
    }
  });

  t.test('what happens to a device that was in order is a repair', async (t) => {
    const plan = planFor(4, { peers: [peer(4, 2), peer(4, 3)] });
    const { driver, repairs, told } = open();
    driver.applyPeers(plan, driver.ensure(plan));
    ip('link del flannel.1');
    driver.applyPeers(plan, driver.ensure(plan));
    t.same(repairs(), { device: 1 }, 'its entries went with it and are not counted');
    t.same(tables(4, 'flannel.1'), tablesOf(plan.peers));
    batch('ip', ['link del flannel.1', 'link add flannel.1 type vxlan id 7 dev u0 dstport 8472']);
    driver.ensure(plan);
    t.same(repairs(), { device: 1 });
    batch('ip', [
      'link del flannel.1',
      `link add flannel.1 address ${plan.mac} type vxlan id 1 dev u0 local 192.168.7.1 dstport 8472 nolearning`,
    ]);
    driver.ensure(plan);
    t.same(repairs(), { device: 1 });
    t.match(told, [
      'flannel.1 was gone; made again',
      'flannel.1 had vni 7; made again',
      'flannel.1 was made again by somebody else; adopted',
    ]);
    driver.ensure(planFor(4, { port: 4789 }));
    t.equal(shown('flannel.1').linkinfo?.info_data['port'], 4789);
    t.same(repairs(), {}, 'another plan is no repair');
    driver.remove();
  });

  t.test('a device of another kind is left alone', async (t) => {
    for (const kind of ['veth peer name v9', 'bridge']) {
      ip(`link add flannel.1 type ${kind}`);
      const before = shown('flannel.1');
      const { driver } = open();
      const error = refused(() => driver.ensure(planFor(4)));
      t.equal(error.code, 'DEVICE_TAKEN');
      t.match(error.message, /flannel\.1 exists already/);
      driver.remove();
      t.same(shown('flannel.1'), before);
      ip('link del flannel.1');
    }
    ip('link add other0 type bridge');
    ip('link property add dev other0 altname flannel.1');
    t.match(
      refused(() => open().driver.ensure(planFor(4))),
      { code: 'DEVICE_TAKEN', message: /other0/ },
    );
    ip('link del other0');
  });

  t.test('a device of another name with the VNI is named', async (t) => {
    ip('link add other0 type vxlan id 1 dstport 8472');
    const { driver } = open();
    const error = refused(() => driver.ensure(planFor(4)));
    t.equal(error.code, 'DEVICE_TAKEN');
    t.match(error.message, /other0 has VNI 1 on port 8472/);
    ip('link del other0');
    driver.ensure(planFor(4));
    driver.remove();
  });

  t.test('our own device is made again when somebody renamed it', async (t) => {
    const { driver, repairs } = open();
    driver.ensure(planFor(4));
    ip('link set flannel.1 name renamed0');
    driver.ensure(planFor(4));
    t.equal(netlink.link('renamed0'), undefined);
    t.ok(netlink.link('flannel.1'));
    t.same(repairs(), { device: 1 });
    driver.remove();
  });

  t.test('one that was moved to another namespace is named as well as it can be', async (t) => {
    const lab = await Lab.open({ hosts: ['h1'] });
    t.teardown(() => lab.close());
    const { driver } = open();
    driver.ensure(planFor(4));
    ip(`link set flannel.1 netns ${lab.host('h1').netns}`);
    const error = refused(() => driver.ensure(planFor(4)));
    t.equal(error.code, 'DEVICE_TAKEN');
    t.match(error.message, /in another network namespace has VNI 1 on port 8472/);
    ip(`-n ${lab.host('h1').netns} link del flannel.1`);
    driver.ensure(planFor(4));
    driver.remove();
  });

  t.test('an underlay that is gone is named, and comes back under another index', async (t) => {
    batch('ip', ['link add w0 type veth peer name w1', 'link set w0 up']);
    const plan = planFor(4, { underlay: 'w0' });
    const { driver, repairs } = open();
    const first = driver.ensure(plan);
    ip('link del w0');
    t.match(
      refused(() => driver.ensure(plan)),
      { code: 'IFACE_NOT_FOUND', message: /w0 is gone/ },
    );
    batch('ip', ['link add w0 type veth peer name w1', 'link set w0 up']);
    t.not(driver.ensure(plan).index, first.index);
    t.equal(shown('flannel.1').linkinfo?.info_data['link'], 'w0');
    t.same(repairs(), { device: 1 });
    driver.remove();
    ip('link del w0');
  });

  t.test('a port that another socket has is named', async (t) => {
    const socket = createSocket('udp4');
    socket.bind(8473, '127.0.0.1');
    await once(socket, 'listening');
    const plan = planFor(4, { port: 8473 });
    const { driver } = open();
    const link = driver.ensure(plan);
    const error = refused(() => {
      netlink.setLink(link, { up: true });
    });
    const explained = driver.explain(plan, error);
    t.equal(explained.code, 'PORT_IN_USE');
    t.match(explained.message, /UDP port 8473 is taken/);
    t.equal(explained.cause, error);
    const otherwise = new KerseyError('NETLINK', 'another');
    t.equal(driver.explain(plan, otherwise), otherwise);
    socket.close();
    await once(socket, 'close');
    netlink.setLink(link, { up: true });
    driver.remove();
  });

  t.test('peers come, change and go; that is no repair', async (t) => {
    const numbers = fc.uniqueArray(fc.integer({ min: 2, max: 200 }), { maxLength: 40 });
    for (const family of [4, 6] as const) {
      const { driver, repairs, changes } = open();
      const base = planFor(family);
      netlink.setLink(driver.ensure(base), { up: true });
      fc.assert(
        fc.property(numbers, fc.boolean(), (some, moved) => {
          const peers = some.map((n): VtepPeer => {
            const { outer, vtepMac, ...rest } = peer(family, n);
            // The peer is another host now: all but its subnet changed.
            const other = peer(family, 255);
            return moved && n % 2 === 0
              ? { ...rest, outer: other.outer, vtepMac: vtepMac.replace('0e:', '0a:') }
              : { ...rest, outer, vtepMac };
          });
          const plan = { ...base, peers };
          const link = driver.ensure(plan);
          t.same(driver.applyPeers(plan, link), []);
          t.same(tables(family, base.name), tablesOf(peers));
          changes();
          t.same(driver.applyPeers({ ...base, peers: [...peers].reverse() }, link), []);
          t.equal(changes(), 0, 'what is in order is not touched');
        }),
        { numRuns: 12 },
      );
      t.same(repairs(), {});
      driver.remove();
    }
  });

  t.test('whatever others do to the entries is repaired and counted', async (t) => {
    const all = Array.from({ length: 20 }, (_, i) => i + 2);
    const damages = [
      ({ address }: VtepPeer, dev: string) => `ip neigh del ${address} dev ${dev}`,
      ({ address }: VtepPeer, dev: string) =>
        `ip neigh replace ${address} lladdr 0e:99:00:00:00:01 dev ${dev} nud permanent`,
      ({ address, vtepMac }: VtepPeer, dev: string) =>
        `ip neigh replace ${address} lladdr ${vtepMac} dev ${dev} nud stale`,
      ({ vtepMac, outer }: VtepPeer, dev: string) => `bridge fdb del ${vtepMac} dev ${dev} dst ${outer} self`,
      ({ vtepMac, outer }: VtepPeer, dev: string) =>
        `bridge fdb replace ${vtepMac} dev ${dev} dst ${outer} port 9 self permanent`,
      ({ vtepMac, outer }: VtepPeer, dev: string) =>
        `bridge fdb replace ${vtepMac} dev ${dev} dst ${outer}9 self permanent`,
      ({ vtepMac, outer }: VtepPeer, dev: string) =>
        `bridge fdb replace ${vtepMac} dev ${dev} dst ${outer} self dynamic`,
    ] as const;
    const foreign = [
      ({ address }: VtepPeer, dev: string) =>
        `ip neigh add ${address.replace('5', '6')} lladdr 0e:98:00:00:00:01 dev ${dev} nud permanent`,
      ({ vtepMac, outer }: VtepPeer, dev: string) =>
        `bridge fdb add ${vtepMac.replace('0e', '0a')} dev ${dev} dst ${outer} self permanent`,
      ({ outer }: VtepPeer, dev: string) =>
        `bridge fdb append 00:00:00:00:00:00 dev ${dev} dst ${outer} self permanent`,
      ({ outer }: VtepPeer, dev: string) =>
        `bridge fdb append 01:00:5e:00:00:05 dev ${dev} dst ${outer} port 9 vni 5 via u0 self permanent`,
    ] as const;
    const one = fc.record({
      number: fc.constantFrom(...all),
      damage: fc.constantFrom(...damages, ...foreign),
    });
    for (const family of [4, 6] as const) {
      const { driver, repairs, changes } = open();
      const total = { neighbour: 0, fdb: 0 };
      const plan = planFor(family, { peers: all.map((n) => peer(family, n)) });
      const link = driver.ensure(plan);
      netlink.setLink(link, { up: true });
      driver.applyPeers(plan, link);
      const wanted = tablesOf(plan.peers);
      const wrong = (present: readonly string[], sound: readonly string[]): number => {
        const keys = new Set(sound.map((line) => line.split(' ')[0]));
        const strangers = present.filter((line) => !keys.has(line.split(' ')[0]));
        return sound.filter((line) => !present.includes(line)).length + strangers.length;
      };
      fc.assert(
        fc.property(fc.array(one, { minLength: 1, maxLength: 12 }), (list) => {
          const lines = list.map(({ number, damage }) => damage(peer(family, number), plan.name));
          for (const name of ['ip', 'bridge'] as const) {
            const own = lines.filter((line) => line.startsWith(name));
            damageBy(
              name,
              own.map((line) => line.slice(name.length + 1)),
            );
          }
          const damaged = tables(family, plan.name);
          const expected = {
            neighbour: wrong(damaged.neighbours, wanted.neighbours),
            fdb: wrong(damaged.forwarding, wanted.forwarding),
          };
          t.same(driver.applyPeers(plan, link), []);
          t.same(tables(family, plan.name), wanted, lines.join('; '));
          const { neighbour = 0, fdb = 0, ...rest } = repairs();
          t.same({ neighbour, fdb, ...rest }, expected);
          total.neighbour += neighbour;
          total.fdb += fdb;
          changes();
          t.same(driver.applyPeers(plan, link), []);
          t.equal(changes(), 0);
          t.same(repairs(), {});
        }),
        { numRuns: 20 },
      );
      t.ok(total.neighbour > 10 && total.fdb > 10, 'there was damage');
      driver.remove();
    }
  });

  t.test('a nexthop object in the place of a peer is replaced', async (t) => {
    const plan = planFor(4, { peers: [peer(4, 2)] });
    const { driver, repairs } = open();
    const link = driver.ensure(plan);
    driver.applyPeers(plan, link);
    ip('nexthop add id 5 via 192.168.7.9 fdb');
    ip('nexthop add id 6 group 5 fdb');
    tool('bridge', 'fdb del 0e:00:00:00:04:02 dev flannel.1'.split(' '));
    tool('bridge', 'fdb add 0e:00:00:00:04:02 dev flannel.1 nhid 6 self permanent'.split(' '));
    t.same(driver.applyPeers(plan, link), []);
    t.same(tables(4, 'flannel.1'), tablesOf(plan.peers));
    t.same(repairs(), { fdb: 1 });
    batch('ip', ['nexthop del id 6', 'nexthop del id 5']);
    driver.remove();
  });

  t.test('two hosts of one VTEP MAC address: one is served, the other told, and it ends there', async (t) => {
    const [a, b, c] = [peer(4, 2), { ...peer(4, 3), vtepMac: peer(4, 2).vtepMac }, peer(4, 4)];
    const plan = planFor(4, { peers: [a, b, c] });
    const { driver, repairs, changes } = open();
    const link = driver.ensure(plan);
    for (let round = 0; round < 3; round++) {
      const problems = driver.applyPeers(plan, link);
      t.equal(problems.length, 1);
      t.match(problems[0]?.message, /10\.5\.3\.0\/24 at 192\.168\.7\.3 .*0e:00:00:00:04:02 .*192\.168\.7\.2/);
      t.same(tables(4, 'flannel.1').forwarding, tablesOf([a, c]).forwarding);
      t.equal(changes() === 0, round > 0);
    }
    t.same(repairs(), {});
    // One host that has two leases is none of that.
    const two = planFor(4, { peers: [a, { ...peer(4, 3), vtepMac: a.vtepMac, outer: a.outer }] });
    t.same(driver.applyPeers(two, link), []);
    driver.remove();
  });

  t.test('a device that disappears meanwhile is a problem for every peer, not a crash', async (t) => {
    const plan = planFor(4, { peers: [peer(4, 2)] });
    const { driver } = open();
    const link = driver.ensure(plan);
    ip('link del flannel.1');
    let problems: readonly KerseyError[];
    try {
      problems = driver.applyPeers(plan, link);
    } catch (error) {
      problems = [KerseyError.from(error)];
    }
    t.ok(problems.length > 0);
    t.ok(problems.every(({ code }) => code === 'NETLINK'));
    driver.ensure(plan);
    driver.remove();
  });

  t.test('the probe leaves nothing behind and does not disturb a device that runs', async (t) => {
    const plan = planFor(4);
    const { driver } = open();
    netlink.setLink(driver.ensure(plan), { up: true });
    const before = json<Shown>('ip', '-d link').map(({ ifname, ifindex }) => `${ifname} ${ifindex}`);
    t.equal(probeKernelVxlan(netlink), undefined);
    t.equal(probeKernelVxlan(netlink, 6), undefined);
    const ipip = probeIpip(netlink);
    if (ipip !== undefined) t.match(ipip, /^\S.* \(E\w+\)$/, 'a reason in words');
    const after = json<Shown>('ip', '-d link').map(({ ifname, ifindex }) => `${ifname} ${ifindex}`);
    t.same(
      after.filter((name) => !/^(?:tunl|ip6tnl)0 /.test(name)),
      before,
    );
    driver.remove();
  });

  t.test('two hosts with such devices reach each other', async (t) => {
    const lab = await Lab.open({ hosts: ['h1', 'h2'], join: 'direct' });
    t.teardown(() => lab.close());
    const script = new URL('../lib/kernel-device-main.ts', import.meta.url).pathname;
    const side = (family: 4 | 6, n: number): { prefix: string; address: string; mac: string } => ({
      prefix: family === 4 ? `10.5.${n}.0/24` : `fd05:0:0:${n}::/64`,
      address: family === 4 ? `10.5.${n}.0` : `fd05:0:0:${n}::`,
      mac: `0e:2a:00:00:0${family}:0${n}`,
    });
    for (const family of [4, 6] as const) {
      const outer = (n: number): string => {
        const host = lab.host(`h${n}`);
        return family === 4 ? host.address4 : host.address6;
      };
      for (const [own, other] of [
        [1, 2],
        [2, 1],
      ] as const) {
        const [mine, theirs] = [side(family, own), side(family, other)];
        const plan = planFor(family, {
          ...{ underlay: 'eth0', local: outer(own), mac: mine.mac },
          addresses: [`${mine.address}/${family === 4 ? 32 : 128}`],
          routes: [{ dst: theirs.prefix, via: theirs.address }],
          peers: [
            { prefix: theirs.prefix, address: theirs.address, outer: outer(other), vtepMac: theirs.mac },
          ],
        });
        await lab.host(`h${own}`).exec([...sourceCommand(script), JSON.stringify(plan)]);
      }
      const [mine, theirs] = [side(family, 1), side(family, 2)];
      const { stdout } = await lab
        .host('h1')
        .exec(['ping', '-c', '3', '-i', '0.2', '-W', '5', '-I', mine.address, theirs.address]);
      t.match(stdout, /3 packets transmitted, 3 received/);
    }
  });
}

if (inOwnNetns(import.meta.filename)) main();
