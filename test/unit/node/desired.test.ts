import fc from 'fast-check';
import t from 'tap';

import { parseNetworkConfig } from '../../../src/config/network.ts';
import { KerseyError } from '../../../src/errors.ts';
import { cidrAround, cidrOverlaps, parseCidr } from '../../../src/net/cidr.ts';
import { formatIp } from '../../../src/net/ip.ts';
import { assertNetworkFits, desiredState, vtepMacIn } from '../../../src/node/desired.ts';
import type { DesiredInput, HostFacts } from '../../../src/node/desired.ts';
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

function input(leases: readonly Lease[], more: Partial<DesiredInput> = {}): DesiredInput {
  return { config: v4, own: lease(1), leases, host, options: {}, ...more };
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
  t.same(desiredState(input([lease(2), lease(1)])), {
    overlays: [
      {
        family: 4,
        engine: {
          device: 'flannel.1',
          vni: 1,
          port: 8472,
          local: '192.168.78.1',
          vtepMac: mac(1),
          mtu: 1450,
        },
        subnet: parseCidr('10.5.1.0/24'),
        network: parseCidr('10.5.0.0/16'),
        address: '10.5.1.0/32',
        txQueueLen: 2048,
        gsoMaxSize: { whole: 65_485, runs: 61_833 },
        peers: [{ prefix: '10.5.2.0/24', outer: '192.168.78.2', vtepMac: mac(2) }],
        local: ['10.5.1.0/24'],
        routes: [{ dst: '10.5.2.0/24', via: '10.5.2.0' }],
      },
    ],
    mtu: 1450,
    warnings: [],
  });
});

t.test('dual stack: a device each, and the MTU that fits both', async (t) => {
  const { overlays, mtu } = desiredState(
    input([dualLease(1), dualLease(2)], { config: dual, own: dualLease(1) }),
  );
  t.same(
    overlays.map(({ engine, address, routes }) => [
      engine.device,
      engine.port,
      engine.mtu,
      engine.local,
      address,
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
  t.same(overlays[1]?.peers, [{ prefix: 'fd00:5:0:2::/64', outer: 'fd78::2', vtepMac: mac(102) }]);
  t.equal(mtu, 1430);
});

t.test('the MTU is that of the backend, else of the interface, and has a floor', async (t) => {
  const jumbo = parseNetworkConfig({ Network: '10.5.0.0/16', Backend: { Type: 'vxlan', MTU: 9000 } });
  t.equal(desiredState(input([], { config: jumbo })).mtu, 8950);
  t.equal(desiredState(input([], { host: { ...host, ifaceMtu: 626 } })).mtu, 576);
  t.match(
    refused(() => desiredState(input([], { host: { ...host, ifaceMtu: 625 } }))),
    /^MTU_TOO_SMALL: the MTU of the interface eth0 is 625, .*raise it to 626 or more/,
  );
  const six = { config: dual, own: dualLease(1), host: { ...host, ifaceMtu: 1349 } };
  t.match(
    refused(() => desiredState(input([], six))),
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
  const { overlays, warnings } = desiredState(
    input([lease(1), ...bad.map(([entry]) => entry), lease(2)], { host: { ...host, attached } }),
  );
  t.same(
    overlays[0]?.peers.map(({ prefix }) => prefix),
    ['10.5.2.0/24'],
  );
  t.equal(warnings.length, bad.length);
  for (const [, expected] of bad)
    t.ok(
      warnings.some((warning) => expected.test(warning)),
      String(expected),
    );
});

t.test('two leases of one subnet: one is used, whichever order they come in', async (t) => {
  const twins = [lease(2), lease(2, {}, { publicIP: '192.168.78.22' })];
  const one = desiredState(input(twins));
  t.same(one, desiredState(input([...twins].reverse())));
  t.same(
    one.overlays[0]?.peers.map(({ outer }) => outer),
    ['192.168.78.2'],
  );
  t.match(one.warnings, [/192\.168\.78\.22 is ignored: 192\.168\.78\.2 holds the same subnet/]);
});

t.test('a reservation that its host has not claimed yet is no peer, and nothing to warn of', async (t) => {
  const { publicIP, publicIPv6 } = lease(7).attrs;
  const reserved = { ...lease(7), attrs: { publicIP, publicIPv6 } };
  const state = desiredState(input([reserved]));
  t.same(state.overlays[0]?.peers, []);
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
        const state = desiredState(input(leases));
        t.same(desiredState(input(shuffled)), state);
        const [overlay] = state.overlays;
        const prefixes = overlay?.peers.map(({ prefix }) => prefix) ?? [];
        t.equal(new Set(prefixes).size, prefixes.length);
        t.notOk(prefixes.some((prefix) => cidrOverlaps(parseCidr(prefix), parseCidr('10.5.1.0/24'))));
        t.same(
          overlay?.routes,
          prefixes.map((dst) => ({ dst, via: formatIp(4, parseCidr(dst).base) })),
        );
      }),
      { numRuns: 200 },
    );
  },
);

t.test('a network that cannot live on this host is refused', async (t) => {
  const inside = { ...host, address4: '10.5.0.7' };
  t.match(
    refused(() => {
      assertNetworkFits(v4, inside);
    }),
    /SUBNET_OVERLAP: the underlay address 10\.5\.0\.7 of eth0 lies inside/,
  );
  const stale = { ...host, attached: [{ cidr: parseCidr('10.5.9.0/24'), device: 'cni0' }] };
  t.match(
    refused(() => {
      assertNetworkFits(v4, stale, lease(1));
    }),
    /SUBNET_OVERLAP: cni0 of this host is on 10\.5\.9\.0\/24, inside the overlay network 10\.5\.0\.0\/16 but outside our subnet 10\.5\.1\.0\/24/,
  );
  assertNetworkFits(
    v4,
    { ...host, attached: [{ cidr: parseCidr('10.5.1.0/24'), device: 'cni0' }] },
    lease(1),
  );
  assertNetworkFits(v4, { ...host, attached: [{ cidr: parseCidr('10.0.0.0/8'), device: 'eth0' }] }, lease(1));
  t.pass('our own bridge, and a wide underlay, are fine');
});

t.test('VtepMAC', async (t) => {
  t.equal(vtepMacIn({ VNI: 1, VtepMAC: 'C6:D2:32:6F:8F:44' }), 'c6:d2:32:6f:8f:44');
  for (const bad of [undefined, null, 'x', [], {}, { VtepMAC: 7 }, { VtepMAC: '00:00:00:00:00:00' }]) {
    t.equal(vtepMacIn(bad), undefined);
  }
});

t.test('our own lease as the store has it', async (t) => {
  const own = lease(1);
  t.match(judgeOwnLease(own, [lease(2), own]), { kind: 'held' });
  t.same(judgeOwnLease(own, [lease(2)]), { kind: 'missing' });
  t.same(judgeOwnLease(own, [lease(1, {}, { backendData: null })]), { kind: 'missing' }, 'damaged');
  const edited = judgeOwnLease(own, [lease(1, {}, { backendData: { VNI: 1, VtepMAC: mac(77) } })]);
  t.equal(edited.kind === 'held' && vtepMacIn(edited.lease.attrs.backendData), mac(77), 'the store decides');
  const taken = judgeOwnLease(own, [lease(1, {}, { publicIP: '192.168.78.9' })]);
  t.match(
    taken.kind === 'taken' && taken.problem.line,
    /SUBNET_OVERLAP: our subnet 10\.5\.1\.0\/24 is leased to 192\.168\.78\.9/,
  );
});
