// The reconcile loop against a host that is a few maps. What others may do to a host, it does at random.

import fc from 'fast-check';
import t from 'tap';

import { parseNetworkConfig } from '../../../src/config/network.ts';
import type { EngineConfig, EngineState, PeerTable } from '../../../src/engine/engine.ts';
import type { FeatureState } from '../../../src/engine/feature.ts';
import { KerseyError } from '../../../src/errors.ts';
import { parseCidr } from '../../../src/net/cidr.ts';
import type { Family } from '../../../src/net/ip.ts';
import type { Address } from '../../../src/netlink/address.ts';
import type { RouteOperation } from '../../../src/netlink/client.ts';
import type { DeviceRef, Link, LinkChange } from '../../../src/netlink/link.ts';
import type { Route } from '../../../src/netlink/route.ts';
import type { Plan } from '../../../src/backend/plan.ts';
import { VxlanBackend } from '../../../src/backend/vxlan.ts';
import type { RepairKind } from '../../../src/node/devices/driver.ts';
import { EngineDevice } from '../../../src/node/devices/engine-device.ts';
import type { EngineFace } from '../../../src/node/devices/engine-device.ts';
import { Reconciler } from '../../../src/node/reconcile.ts';
import type { NetlinkFace } from '../../../src/node/reconcile.ts';
import type { Lease } from '../../../src/store/lease.ts';

const underlay: Omit<Link, 'index' | 'name'> = {
  up: true,
  lowerUp: true,
  loopback: false,
  mtu: 1500,
  txQueueLen: 1000,
  kind: undefined,
  parent: undefined,
  master: undefined,
  tunnel: undefined,
  mac: undefined,
  gsoMaxSize: 65_536,
  gsoIpv4MaxSize: 65_536,
};

class FakeHost implements NetlinkFace {
  device: Link | undefined;
  addressTexts = new Set<string>();
  routeTable = new Map<string, Route>();
  table: PeerTable | undefined;
  state: EngineState = { kind: 'closed' };
  features: readonly FeatureState[] = [];
  /** Changes so far, to see that none are made in vain. */
  changes = 0;
  tables = 0;
  clock: number | undefined;
  minutes = 0;
  refuseRoutes = false;
  refuseEngine: KerseyError | undefined;
  #index = 3;

  openEngine = (config: EngineConfig): EngineFace => {
    if (this.refuseEngine !== undefined) throw this.refuseEngine;
    if (this.device !== undefined) throw new KerseyError('DEVICE_TAKEN', config.device);
    this.#index++;
    this.device = {
      ...underlay,
      ...{ index: this.#index, name: config.device, mtu: config.mtu },
      ...{ up: false, lowerUp: false, txQueueLen: 500, kind: 'tun' },
    };
    this.state = { kind: 'running' };
    const mine = this.#index;
    return {
      config,
      state: () => (mine === this.#index ? this.state : { kind: 'closed' }),
      totals: () => ({ counters: {}, drops: {}, features: this.features }),
      stats: () => ({ counters: {}, drops: {}, features: this.features, peers: [] }),
      setPeers: (table) => {
        this.table = table;
        this.tables++;
      },
      close: () => {
        if (mine !== this.#index) return;
        if (this.device?.index === mine) this.deleteDevice();
        this.state = { kind: 'closed' };
      },
    };
  };

  deleteDevice(): void {
    this.device = undefined;
    this.addressTexts.clear();
    this.routeTable.clear();
    if (this.state.kind === 'running')
      this.state = { kind: 'failed', reason: 'the device flannel.1 was deleted' };
  }

  link(name: string): Link | undefined {
    return this.device?.name === name ? this.device : undefined;
  }

  links(): readonly Link[] {
    const device = this.device;
    const eth0 = { ...underlay, index: 2, name: 'eth0' };
    return device === undefined ? [eth0] : [eth0, device];
  }

  deleteLink(): void {
    this.deleteDevice();
  }

  setLink(_device: DeviceRef, change: LinkChange): void {
    this.changes++;
    if (this.device) this.device = { ...this.device, ...change };
  }

  addresses(): readonly Address[] {
    return [...this.addressTexts].map((text) => {
      const [ip = '', length] = text.split('/');
      return {
        index: this.#index,
        family: 4,
        ip,
        prefixLength: Number(length),
        scope: 0,
        permanent: true,
        temporary: false,
        deprecated: false,
      };
    });
  }

  addAddress(_device: DeviceRef, text: string): void {
    this.changes++;
    this.addressTexts.add(text);
  }

  deleteAddress(_device: DeviceRef, text: string): void {
    this.changes++;
    this.addressTexts.delete(text);
  }

  routes(family: Family, device?: DeviceRef, protocol?: number): readonly Route[] {
    return [...this.routeTable.values()].filter(
      (route) =>
        route.family === family &&
        (device === undefined || route.device === device.index) &&
        (protocol === undefined || route.protocol === protocol),
    );
  }

  addRoute(dst: string, via: string | undefined, more: Partial<Route> = {}): void {
    this.routeTable.set(dst, {
      family: 4,
      dst,
      via,
      device: this.#index,
      source: undefined,
      metric: 0,
      table: 254,
      protocol: 3,
      scope: 0,
      type: 1,
      onlink: true,
      multipath: false,
      ...more,
    });
  }

  changeRoutes(operations: readonly RouteOperation[]): readonly KerseyError[] {
    this.changes += operations.length;
    if (this.refuseRoutes) return operations.map(({ route }) => new KerseyError('NETLINK', route.dst));
    for (const { action, route } of operations) {
      if (route.kind === 'blackhole') throw new Error('not asked for');
      const { dst, via, device, protocol, onlink } = route;
      if (action === 'delete') this.routeTable.delete(dst);
      else
        this.addRoute(dst, via, {
          device: device.index,
          protocol: protocol ?? 3,
          onlink: onlink === true,
        });
    }
    return [];
  }
}

const config = parseNetworkConfig({ Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } });

function lease(n: number): Lease {
  return {
    subnet: parseCidr(`10.5.${n}.0/24`),
    subnet6: undefined,
    attrs: {
      publicIP: `192.168.78.${n}`,
      publicIPv6: null,
      backendType: 'vxlan',
      backendData: { VNI: 1, VtepMAC: `0e:00:00:00:00:${n.toString(16).padStart(2, '0')}` },
    },
  };
}

function desired(peers: readonly number[], ifaceMtu = 1500): Plan {
  if (config.backend.type !== 'vxlan') throw new Error('another backend');
  const context = { config, dataplane: 'engine', options: {}, underlay: {} } as const;
  return new VxlanBackend(config.backend, context).plan({
    own: lease(1),
    leases: peers.map(lease),
    host: { iface: 'eth0', ifaceMtu, address4: '192.168.78.1', attached: [] },
  });
}

function reconciler(host: FakeHost): { reconciler: Reconciler; repairs: [RepairKind, string][] } {
  const repairs: [RepairKind, string][] = [];
  const onRepair = (kind: RepairKind, what: string): void => {
    repairs.push([kind, what]);
  };
  // Every look at the clock is a minute later, but where a test sets it.
  const now = (): number => host.clock ?? (host.minutes += 60_000);
  return {
    reconciler: new Reconciler({
      netlink: host,
      makeDriver: (_kind, count) =>
        new EngineDevice({ netlink: host, openEngine: host.openEngine, onRepair: count, now }),
      onRepair,
    }),
    repairs,
  };
}

/** What the host must look like. */
function seen(host: FakeHost): unknown {
  return {
    up: host.device?.up,
    mtu: host.device?.mtu,
    queue: host.device?.txQueueLen,
    addresses: [...host.addressTexts],
    routes: [...host.routeTable.values()].map(({ dst, via }) => `${dst} via ${via ?? ''}`).sort(),
    peers: host.table?.peers.map(({ prefix }) => prefix),
  };
}

function wanted(peers: readonly number[], mtu = 1450): unknown {
  const sorted = [...peers].sort((a, b) => a - b);
  return {
    up: true,
    mtu,
    queue: 2048,
    addresses: ['10.5.1.0/32'],
    routes: sorted.map((n) => `10.5.${n}.0/24 via 10.5.${n}.0`).sort(),
    peers: sorted.map((n) => `10.5.${n}.0/24`),
  };
}

t.test('from nothing, then from there to other peers; what is in order is left alone', async (t) => {
  const host = new FakeHost();
  const { reconciler: loop, repairs } = reconciler(host);
  t.same(loop.apply(desired([2, 3])), []);
  t.same(seen(host), wanted([2, 3]));
  const { changes, tables } = host;
  t.same(loop.apply(desired([2, 3])), []);
  t.same([host.changes, host.tables], [changes, tables], 'nothing to do, nothing done');
  loop.apply(desired([3, 4]));
  t.same(seen(host), wanted([3, 4]));
  t.same(repairs, [], 'peers that come and go are no repairs');
  loop.close();
  t.equal(host.device, undefined);
});

t.test('whatever others do, the next call puts it right and counts it', async (t) => {
  const damages: Readonly<Record<string, (host: FakeHost) => RepairKind>> = {
    'the device is deleted': (host) => {
      host.deleteDevice();
      return 'device';
    },
    'the device is moved away, which the engine does not see': (host) => {
      host.deleteDevice();
      host.state = { kind: 'running' };
      return 'device';
    },
    'it is set down': (host) => {
      if (host.device) host.device = { ...host.device, up: false };
      host.routeTable.clear();
      return 'link';
    },
    'its MTU is changed': (host) => {
      if (host.device) host.device = { ...host.device, mtu: 1200 };
      return 'link';
    },
    'the address is taken off': (host) => {
      host.addressTexts.clear();
      return 'address';
    },
    'another address is put on': (host) => {
      host.addressTexts.add('169.254.3.4/16');
      return 'address';
    },
    'a route is deleted': (host) => {
      host.routeTable.delete('10.5.2.0/24');
      return 'route';
    },
    'a route leads elsewhere': (host) => {
      host.addRoute('10.5.3.0/24', '10.5.9.9');
      return 'route';
    },
    'a route that nobody called for': (host) => {
      host.addRoute('0.0.0.0/0', undefined, { onlink: false });
      return 'route';
    },
  };
  for (const [name, damage] of Object.entries(damages)) {
    const host = new FakeHost();
    const { reconciler: loop, repairs } = reconciler(host);
    loop.apply(desired([2, 3]));
    const kind = damage(host);
    t.same(loop.apply(desired([2, 3])), [], name);
    t.same(seen(host), wanted([2, 3]), name);
    t.ok(
      loop.repairs[kind] > 0 && repairs.some(([seenKind]) => seenKind === kind),
      `${name}: counted as ${kind}`,
    );
  }
  const names = Object.keys(damages);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom(...names), fc.subarray([2, 3, 4, 5])), { maxLength: 12 }),
      (steps) => {
        const host = new FakeHost();
        const { reconciler: loop } = reconciler(host);
        loop.apply(desired([2, 3]));
        for (const [name, peers] of steps) {
          damages[name]?.(host);
          loop.apply(desired(peers));
          t.same(seen(host), wanted(peers));
        }
      },
    ),
    { numRuns: 100 },
  );
});

t.test("the kernel's own routes stay", async (t) => {
  const host = new FakeHost();
  const { reconciler: loop } = reconciler(host);
  loop.apply(desired([2]));
  host.addRoute('fe80::/64', undefined, { protocol: 2 });
  loop.apply(desired([2]));
  t.ok(host.routeTable.has('fe80::/64'));
});

t.test('superpackets may be larger where they leave whole', async (t) => {
  for (const on of [true, false]) {
    const host = new FakeHost();
    host.features = [{ name: 'tunnel-gso', on, reason: '' }];
    const { reconciler: loop } = reconciler(host);
    loop.apply(desired([2]));
    const size = on ? 65_485 : 61_833;
    t.match(host.device, { gsoMaxSize: size, gsoIpv4MaxSize: size });
  }
});

t.test('another MTU of the underlay makes the device anew', async (t) => {
  const host = new FakeHost();
  const { reconciler: loop, repairs } = reconciler(host);
  loop.apply(desired([2]));
  loop.apply(desired([2], 1400));
  t.same(seen(host), wanted([2], 1350));
  t.same(repairs, [], 'which is no repair');
});

t.test('what is refused is reported each time, is no repair, and is done when it can be', async (t) => {
  const host = new FakeHost();
  const { reconciler: loop, repairs } = reconciler(host);
  host.refuseEngine = new KerseyError('PORT_IN_USE', 'UDP port taken');
  t.match(loop.apply(desired([2])), [{ code: 'PORT_IN_USE' }]);
  host.refuseEngine = undefined;
  host.refuseRoutes = true;
  t.match(loop.apply(desired([2, 3])), [{ code: 'NETLINK' }, { code: 'NETLINK' }]);
  t.match(loop.apply(desired([2, 3])), [{ code: 'NETLINK' }, { code: 'NETLINK' }]);
  host.refuseRoutes = false;
  t.same(loop.apply(desired([2, 3])), []);
  t.same(seen(host), wanted([2, 3]));
  t.same(repairs, []);

  host.deleteDevice();
  host.refuseEngine = new KerseyError('ADDRESS_NOT_LOCAL', 'the underlay is gone');
  t.match(loop.apply(desired([2, 3])), [{ code: 'ADDRESS_NOT_LOCAL' }]);
  host.refuseEngine = undefined;
  t.same(loop.apply(desired([2, 3])), []);
  t.same(seen(host), wanted([2, 3]));
  t.same(repairs, [['device', 'the device flannel.1 was deleted; made again']]);
});

t.test('a device that is taken away time and again is made again ever more slowly', async (t) => {
  const host = new FakeHost();
  host.clock = 0;
  const { reconciler: loop } = reconciler(host);
  loop.apply(desired([2]));
  const lose = (): readonly KerseyError[] => {
    host.deleteDevice();
    return loop.apply(desired([2]));
  };
  t.same(lose(), [], 'the first time at once');
  t.match(lose(), [{ code: 'ENGINE_FAILED', message: /2 times in a row/ }]);
  host.clock += 499;
  t.equal(loop.apply(desired([2])).length, 1);
  host.clock += 1;
  t.same(loop.apply(desired([2])), []);
  t.equal(lose().length, 1);
  host.clock += 999;
  t.equal(loop.apply(desired([2])).length, 1);
  host.clock += 1;
  t.same(loop.apply(desired([2])), []);
  host.clock += 10_000;
  t.same(lose(), [], 'after it lived for a while, at once again');
});

t.test('many routes are told in one line', async (t) => {
  const host = new FakeHost();
  const { reconciler: loop, repairs } = reconciler(host);
  const peers = Array.from({ length: 200 }, (_, i) => i + 2);
  loop.apply(desired(peers));
  host.routeTable.clear();
  loop.apply(desired(peers));
  t.same(repairs, [
    ['route', 'flannel.1: put back the routes 10.5.2.0/24, 10.5.3.0/24, 10.5.4.0/24 and 197 more'],
  ]);
  t.equal(loop.repairs.route, 200);
});

t.test('routes over the interfaces of the host: ours are tagged, and nobody else loses any', async (t) => {
  const host = new FakeHost();
  const { reconciler: loop, repairs } = reconciler(host);
  const route = (n: number, via = `192.168.78.${n}`): Plan['routes'][number] => {
    return { family: 4, dst: `10.5.${n}.0/24`, via, device: 'eth0', onlink: false };
  };
  const plan = (...routes: Plan['routes']): Plan => {
    return { devices: [], routes, peers: [], mtu: 1500, warnings: [] };
  };
  const table = (): readonly string[] =>
    [...host.routeTable.values()].map(({ dst, via, protocol }) => `${dst} ${via ?? ''} ${protocol}`).sort();
  host.addRoute('10.9.0.0/24', '192.168.78.250', { device: 2, onlink: false });
  host.addRoute('10.5.7.0/24', '192.168.78.7', { device: 2, onlink: false, protocol: 85 });
  t.same(loop.apply(plan(route(2), route(3))), []);
  const foreign = '10.9.0.0/24 192.168.78.250 3';
  t.same(
    table(),
    ['10.5.2.0/24 192.168.78.2 85', '10.5.3.0/24 192.168.78.3 85', foreign],
    'the stale one went',
  );
  const { changes } = host;
  loop.apply(plan(route(2), route(3)));
  t.equal(host.changes, changes, 'nothing to do, nothing done');
  host.routeTable.delete('10.5.2.0/24');
  host.addRoute('10.5.3.0/24', '192.168.78.99', { device: 2, onlink: false });
  loop.apply(plan(route(2), route(3)));
  t.same(table(), ['10.5.2.0/24 192.168.78.2 85', '10.5.3.0/24 192.168.78.3 85', foreign], 'put right');
  t.equal(loop.repairs.route, 2);
  loop.apply(plan(route(3, '192.168.78.33')));
  t.same(table(), ['10.5.3.0/24 192.168.78.33 85', foreign], 'a lease that moved, one that went');
  t.equal(repairs.length, 1, 'which are no repairs');
  loop.close();
  t.same(table(), ['10.5.3.0/24 192.168.78.33 85', foreign], 'the kernel goes on alone');
});
