import fc from 'fast-check';
import t from 'tap';

import { parseNetworkConfig } from '../../../src/config/network.ts';
import { KerseyError } from '../../../src/errors.ts';
import { cidrAround, cidrOverlaps, parseCidr } from '../../../src/net/cidr.ts';
import { formatIp } from '../../../src/net/ip.ts';
import type { Backend, Dataplane, HostFacts, PlanInput } from '../../../src/backend/backend.ts';
import type { DevicePlan, Plan } from '../../../src/backend/plan.ts';
import { VxlanBackend, vtepMacIn } from '../../../src/backend/vxlan.ts';
import type { NetworkConfig } from '../../../src/config/network.ts';
import { judgeOwnLease } from '../../../src/node/own-lease.ts';
import type { Lease } from '../../../src/store/lease.ts';

const v4 = parseNetworkConfig({ Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } });
const dual = parseNetworkConfig({
  Network: '10.5.0.0/16',
  EnableIPv6: true,
  IPv6Network: 'fd00:5::/48',
  Backend: { Type: 'vxlan', VNI: 7, Port: 4789 },
});

const host: HostFacts = {
  iface: 'eth0',
  ifaceMtu: 1500,
  address4: '192.168.78.1',
  address6: 'fd78::1',
  attached: [{ cidr: parseCidr('192.168.78.0/24'), device: 'eth0' }],
};

function mac(n: number): string {
  return `0e:00:00:00:00:${n.toString(16).padStart(2, '0')}`;
}

/** The lease of host n: subnet 10.5.n.0/24 at 192.168.78.n. */
function lease(n: number, more: Partial<Lease> = {}, attrs: Partial<Lease['attrs']> = {}): Lease {
  return {
    subnet: parseCidr(`10.5.${n}.0/24`),
    subnet6: undefined,
    ...more,
    attrs: {
      publicIP: `192.168.78.${n}`,
      publicIPv6: null,
      backendType: 'vxlan',
      backendData: { VNI: 1, VtepMAC: mac(n) },
      ...attrs,
    },
  };
}

function dualLease(n: number): Lease {
  return lease(
    n,
    { subnet6: parseCidr(`fd00:5:0:${n}::/64`) },
    { publicIPv6: `fd78::${n}`, backendV6Data: { VNI: 7, VtepMAC: mac(100 + n) } },
  );
}

interface Input extends PlanInput {
  readonly config: NetworkConfig;
  readonly dataplane: Dataplane;
}

function input(leases: readonly Lease[], more: Partial<Input> = {}): Input {
  return { config: v4, dataplane: 'engine', own: lease(1), leases, host, ...more };
}

function backend(config: NetworkConfig, dataplane: Dataplane): Backend {
  if (config.backend.type !== 'vxlan') throw new Error('another backend');
  return new VxlanBackend(config.backend, { config, dataplane, options: {}, underlay: {} });
}

function planOf({ config, dataplane, ...rest }: Input): Plan {
  return backend(config, dataplane).plan(rest);
}

function engineIn(plan: Plan, at = 0): Extract<DevicePlan, { kind: 'engine' }> {
  const device = plan.devices[at];
  if (device?.kind !== 'engine') throw new Error('not on the engine');
  return device;
}

function refused(action: () => void): string {
  try {
    action();
  } catch (error) {
    if (error instanceof KerseyError) return error.line;
    throw error;
  }
  throw new Error('not refused');
}

t.test('two hosts, as flannel has them', async (t) => {
  t.same(planOf(input([lease(2), lease(1)])), {
    devices: [
      {
        kind: 'engine',
        name: 'flannel.1',
        family: 4,
        engine: {
          device: 'flannel.1',
          vni: 1,
          port: 8472,
          local: '192.168.78.1',
          vtepMac: mac(1),
          mtu: 1450,
        },
        mtu: 1450,
        addresses: ['10.5.1.0/32'],
        txQueueLen: 2048,
        gsoMaxSize: { whole: 65_485, runs: 61_833 },
        peers: [{ prefix: '10.5.2.0/24', outer: '192.168.78.2', vtepMac: mac(2) }],
        local: ['10.5.1.0/24'],
        routes: [{ dst: '10.5.2.0/24', via: '10.5.2.0' }],
      },
    ],
    routes: [],
    peers: [{ prefix: '10.5.2.0/24', outer: '192.168.78.2', detail: mac(2) }],
    mtu: 1450,
    warnings: [],
  });
});

t.test('dual stack: a device each, and the MTU that fits both', async (t) => {
  const plan = planOf(input([dualLease(1), dualLease(2)], { config: dual, own: dualLease(1) }));
  t.same(
    [engineIn(plan), engineIn(plan, 1)].map(({ engine, addresses, routes }) => [
      engine.device,
      engine.port,
      engine.mtu,
      engine.local,
      addresses.join(),
      routes,
    ]),
    [
      ['flannel.7', 4789, 1450, '192.168.78.1', '10.5.1.0/32', [{ dst: '10.5.2.0/24', via: '10.5.2.0' }]],
      [
        'flannel-v6.7',
        4789,
        1430,
        'fd78::1',
        'fd00:5:0:1::/128',
        [{ dst: 'fd00:5:0:2::/64', via: 'fd00:5:0:2::' }],
      ],
    ],
  );
  t.same(engineIn(plan, 1).peers, [{ prefix: 'fd00:5:0:2::/64', outer: 'fd78::2', vtepMac: mac(102) }]);
  t.equal(plan.mtu, 1430);
});

t.test('the MTU is that of the backend, else of the interface, and has a floor', async (t) => {
  const jumbo = parseNetworkConfig({ Network: '10.5.0.0/16', Backend: { Type: 'vxlan', MTU: 9000 } });
  t.equal(planOf(input([], { config: jumbo })).mtu, 8950);
  t.equal(planOf(input([], { host: { ...host, ifaceMtu: 626 } })).mtu, 576);
  t.match(
    refused(() => planOf(input([], { host: { ...host, ifaceMtu: 625 } }))),
    /^MTU_TOO_SMALL: the MTU of the interface eth0 is 625, .*raise it to 626 or more/,
  );
  const six = { config: dual, own: dualLease(1), host: { ...host, ifaceMtu: 1349 } };
  t.match(
    refused(() => planOf(input([], six))),
    /IPv6 needs 1280 inside, so raise it to 1350/,
  );
});

t.test('a lease that cannot be used is left out and explained, and takes no other with it', async (t) => {
  const bad: readonly (readonly [Lease, RegExp])[] = [
    [
      lease(3, {}, { backendType: 'host-gw' }),
      /10\.5\.3\.0\/24 of 192\.168\.78\.3 is ignored: its backend is "host-gw"/,
    ],
    [lease(4, {}, { backendData: { VNI: 1 } }), /10\.5\.4\.0\/24.*BackendData\.VtepMAC is missing/],
    [lease(5, {}, { backendData: { VtepMAC: '01:00:5e:00:00:01' } }), /10\.5\.5\.0\/24.*not a unicast MAC/],
    [lease(6, { subnet: parseCidr('10.6.6.0/24') }), /10\.6\.6\.0\/24.*outside the network 10\.5\.0\.0\/16/],
    [lease(7, {}, { publicIP: '192.168.78.1' }), /10\.5\.7\.0\/24.*its public address is our own/],
    [lease(8, { subnet: parseCidr('10.5.1.128/25') }), /10\.5\.1\.128\/25.*overlaps our own subnet/],
    [lease(9, {}, { publicIP: '10.5.99.1' }), /10\.5\.9\.0\/24.*lies inside the network.*loop/],
    [lease(10, {}, { publicIP: null, publicIPv6: 'fd78::10' }), /10\.5\.10\.0\/24.*no IPv4 public address/],
    [
      lease(20, {}, { backendType: 'vxlan', publicIP: '192.168.78.99' }),
      /10\.5\.20\.0\/24.*attached to 10\.5\.20\.0\/25 on br0/,
    ],
  ];
  const attached = [...host.attached, { cidr: parseCidr('10.5.20.0/25'), device: 'br0' }];
  const plan = planOf(
    input([lease(1), ...bad.map(([entry]) => entry), lease(2)], { host: { ...host, attached } }),
  );
  t.same(
    plan.peers.map(({ prefix }) => prefix),
    ['10.5.2.0/24'],
  );
  const { warnings } = plan;
  t.equal(warnings.length, bad.length);
  for (const [, expected] of bad)
    t.ok(
      warnings.some((warning) => expected.test(warning)),
      String(expected),
    );
});

t.test('two leases of one subnet: one is used, whichever order they come in', async (t) => {
  const twins = [lease(2), lease(2, {}, { publicIP: '192.168.78.22' })];
  const one = planOf(input(twins));
  t.same(one, planOf(input([...twins].reverse())));
  t.same(
    one.peers.map(({ outer }) => outer),
    ['192.168.78.2'],
  );
  t.match(one.warnings, [/192\.168\.78\.22 is ignored: 192\.168\.78\.2 holds the same subnet/]);
});

t.test('a reservation that its host has not claimed yet is no peer, and nothing to warn of', async (t) => {
  const { publicIP, publicIPv6 } = lease(7).attrs;
  const reserved = { ...lease(7), attrs: { publicIP, publicIPv6 } };
  const state = planOf(input([reserved]));
  t.same(state.peers, []);
  t.same(state.warnings, []);
});

t.test(
  'for any set of leases: same result in any order, no duplicate, nothing of ours, a route a peer',
  async (t) => {
    const anyLease = fc
      .record({
        value: fc.bigInt(0x0a050000n, 0x0a0600ffn),
        length: fc.integer({ min: 17, max: 30 }),
        host: fc.integer({ min: 0, max: 12 }),
        type: fc.constantFrom('vxlan', 'vxlan', 'vxlan', 'host-gw', undefined),
      })
      .map(({ value, length, host: n, type }): Lease => {
        const { backendType: _, ...attrs } = lease(n).attrs;
        return {
          subnet: cidrAround(4, value, length),
          subnet6: undefined,
          attrs: { ...attrs, ...(type !== undefined && { backendType: type }) },
        };
      });
    fc.assert(
      fc.property(fc.array(anyLease, { maxLength: 30 }), fc.infiniteStream(fc.nat()), (leases, random) => {
        const shuffled = leases
          .map((entry) => ({ entry, key: random.next().value as number }))
          .sort((a, b) => a.key - b.key)
          .map(({ entry }) => entry);
        const state = planOf(input(leases));
        t.same(planOf(input(shuffled)), state);
        const overlay = engineIn(state);
        const prefixes = overlay.peers.map(({ prefix }) => prefix);
        t.equal(new Set(prefixes).size, prefixes.length);
        t.notOk(prefixes.some((prefix) => cidrOverlaps(parseCidr(prefix), parseCidr('10.5.1.0/24'))));
        t.same(
          overlay.routes,
          prefixes.map((dst) => ({ dst, via: formatIp(4, parseCidr(dst).base) })),
        );
      }),
      { numRuns: 200 },
    );
  },
);

t.test('VtepMAC', async (t) => {
  t.equal(vtepMacIn({ VNI: 1, VtepMAC: 'C6:D2:32:6F:8F:44' }), 'c6:d2:32:6f:8f:44');
  for (const bad of [undefined, null, 'x', [], {}, { VtepMAC: 7 }, { VtepMAC: '00:00:00:00:00:00' }]) {
    t.equal(vtepMacIn(bad), undefined);
  }
});

t.test('our own lease as the store has it', async (t) => {
  const own = lease(1);
  const vxlan = backend(v4, 'engine');
  t.match(judgeOwnLease(own, [lease(2), own], vxlan), { kind: 'held' });
  t.same(judgeOwnLease(own, [lease(2)], vxlan), { kind: 'missing' });
  t.same(judgeOwnLease(own, [lease(1, {}, { backendData: null })], vxlan), { kind: 'missing' }, 'damaged');
  const edited = judgeOwnLease(own, [lease(1, {}, { backendData: { VNI: 1, VtepMAC: mac(77) } })], vxlan);
  t.equal(edited.kind === 'held' && vtepMacIn(edited.lease.attrs.backendData), mac(77), 'the store decides');
  const taken = judgeOwnLease(own, [lease(1, {}, { publicIP: '192.168.78.9' })], vxlan);
  t.match(
    taken.kind === 'taken' && taken.problem.line,
    /SUBNET_OVERLAP: our subnet 10\.5\.1\.0\/24 is leased to 192\.168\.78\.9/,
  );
});

t.test('the same by the kernel: neighbour, forwarding entry and route a peer', async (t) => {
  t.same(planOf(input([lease(2), lease(1)], { dataplane: 'kernel' })).devices, [
    {
      kind: 'vxlan',
      name: 'flannel.1',
      family: 4,
      mtu: 1450,
      addresses: ['10.5.1.0/32'],
      routes: [{ dst: '10.5.2.0/24', via: '10.5.2.0' }],
      ...{ vni: 1, port: 8472, local: '192.168.78.1', underlay: 'eth0', mac: mac(1) },
      ...{ learning: false, gbp: false },
      peers: [{ prefix: '10.5.2.0/24', address: '10.5.2.0', outer: '192.168.78.2', vtepMac: mac(2) }],
    },
  ]);
});

t.test(
  'DirectRouting: peers on our link get a route of their own, and the engine knows them still',
  async (t) => {
    const config = parseNetworkConfig({
      Network: '10.5.0.0/16',
      Backend: { Type: 'vxlan', DirectRouting: true },
    });
    t.ok(backend(config, 'engine').needsOnLink);
    const near = { ...host, onLink: new Set(['192.168.78.2']) };
    const leases = [lease(2), lease(3)];
    for (const dataplane of ['engine', 'kernel'] as const) {
      const plan = planOf(input(leases, { config, dataplane, host: near }));
      t.same(plan.routes, [
        { family: 4, dst: '10.5.2.0/24', via: '192.168.78.2', device: 'eth0', onlink: false },
      ]);
      const [device] = plan.devices;
      t.same(device?.routes, [{ dst: '10.5.3.0/24', via: '10.5.3.0' }]);
      t.equal(plan.peers.length, 2);
      t.same(
        device?.kind === 'vxlan' ? device.peers.map(({ prefix }) => prefix) : engineIn(plan).peers.length,
        dataplane === 'kernel' ? ['10.5.3.0/24'] : 2,
      );
    }
  },
);

t.test('GBP is for the kernel alone, Learning means nothing to the engine', async (t) => {
  const config = (key: string): NetworkConfig =>
    parseNetworkConfig({ Network: '10.5.0.0/16', Backend: { Type: 'vxlan', [key]: true } });
  t.match(
    refused(() => backend(config('GBP'), 'engine')),
    /^BACKEND_UNSUPPORTED: config\.Backend\.GBP is true, and only kernel vxlan has it/,
  );
  t.match(planOf(input([], { config: config('GBP'), dataplane: 'kernel' })).devices, [{ gbp: true }]);
  t.match(planOf(input([], { config: config('Learning') })).warnings, [/Learning has no effect/]);
  t.match(planOf(input([], { config: config('Learning'), dataplane: 'kernel' })), {
    devices: [{ learning: true }],
    warnings: [],
  });
});
