import t from 'tap';
import { parseNetworkConfig } from '../../../src/config/network.ts';
import { KerseyError } from '../../../src/errors.ts';
import { parseCidr } from '../../../src/net/cidr.ts';
import type { Route } from '../../../src/netlink/route.ts';
import { assertNetworkFits, findOverlaps } from '../../../src/node/overlap.ts';
import type { OverlapInput } from '../../../src/node/overlap.ts';

const Backend = { Type: 'vxlan' } as const;
const v4 = parseNetworkConfig({ Network: '10.5.0.0/16', Backend });
const v6 = parseNetworkConfig({ EnableIPv4: false, EnableIPv6: true, IPv6Network: 'fd00:5::/48', Backend });
const dual = parseNetworkConfig({
  Network: '10.5.0.0/16',
  EnableIPv6: true,
  IPv6Network: 'fd00:5::/48',
  Backend,
});

const links = ['lo', 'eth0', 'cni0', 'flannel.1', 'eth1'].map((name, i) => ({ index: i + 1, name }));
const ours = 85;
const [kernel, boot, fixed, dhcp, bird] = [2, 3, 4, 16, 12] as const;

function route(dst: string, device: string | undefined, more: Partial<Route> = {}): Route {
  const { family } = parseCidr(dst);
  return {
    family,
    dst,
    via: undefined,
    device: links.find(({ name }) => name === device)?.index,
    source: undefined,
    metric: 0,
    table: 254,
    protocol: boot,
    scope: more.via === undefined && family === 4 ? 253 : 0,
    type: 1,
    onlink: false,
    multipath: false,
    ...more,
  };
}

function address(text: string, device: string): OverlapInput['addresses'][number] {
  const [ip = '', length] = text.split('/');
  const index = links.find(({ name }) => name === device)?.index ?? 0;
  return { index, family: ip.includes(':') ? 6 : 4, ip, prefixLength: Number(length) };
}

function input(routes: readonly Route[], more: Partial<OverlapInput> = {}): OverlapInput {
  return {
    config: v4,
    own: { subnet: parseCidr('10.5.1.0/24'), subnet6: parseCidr('fd00:5:0:1::/64') },
    underlay: { iface: 'eth0', address4: '192.168.0.1', address6: 'fd78::1' },
    links,
    addresses: [address('192.168.0.1/24', 'eth0')],
    routes: [
      route('0.0.0.0/0', 'eth0', { via: '192.168.0.254', protocol: dhcp, metric: 100 }),
      route('::/0', 'eth0', { via: 'fe80::1' }),
      route('192.168.0.0/24', 'eth0', { protocol: kernel, source: '192.168.0.1' }),
      ...routes,
    ],
    ownDevices: ['flannel.1', 'flannel-v6.1'],
    ownProtocol: ours,
    ...more,
  };
}

const told = (given: OverlapInput): readonly string[] => {
  const { problems, warnings } = findOverlaps(given);
  return [...problems.map(({ line }) => line), ...warnings.map((text) => `warning: ${text}`)];
};

t.test('what does not overlap is no matter', async (t) => {
  t.same(told(input([])), []);
  t.same(told(input([], { own: undefined })), []);
  t.same(told(input([route('10.4.0.0/16', 'eth1'), route('10.6.0.0/24', 'eth1')])), []);
  t.same(assertNetworkFits(input([])), []);
});

t.test('our own: devices, tagged routes, the subnet with its bridge, what is adopted', async (t) => {
  const routes = [
    route('10.5.2.0/24', 'flannel.1', { via: '10.5.2.0', onlink: true }),
    route('10.5.3.0/24', 'eth0', { via: '192.168.0.3', protocol: ours }),
    route('10.5.1.0/24', 'cni0', { protocol: kernel, source: '10.5.1.1' }),
    route('10.5.1.7/32', 'cni0'),
  ];
  const addresses = [address('10.5.1.1/24', 'cni0'), address('10.5.1.0/32', 'flannel.1')];
  t.same(told(input(routes, { addresses })), []);
  const left = route('10.5.4.0/24', 'eth0', { via: '192.168.0.4' });
  const seen: (string | undefined)[] = [];
  const adoptable = (one: Route, device: string | undefined): boolean => {
    if (one === left) seen.push(device);
    return one.dst === '10.5.4.0/24';
  };
  t.same(told(input([left], { adoptable })), []);
  t.same(seen, ['eth0']);
  t.equal(told(input([left])).length, 1, 'and is refused otherwise');
});

t.test('a route inside the network is refused, named, with what to do', async (t) => {
  const cases: readonly (readonly [Route, string])[] = [
    [
      route('10.5.3.0/24', 'eth0', { via: '192.168.0.3' }),
      "this host has the route '10.5.3.0/24 via 192.168.0.3 dev eth0', inside the overlay network 10.5.0.0/16 but outside our subnet 10.5.1.0/24; " +
        'remove it (ip route del 10.5.3.0/24 via 192.168.0.3 dev eth0), or choose another Network',
    ],
    [
      route('10.5.0.0/16', 'eth1', { via: '172.16.0.1', protocol: fixed, metric: 50 }),
      "this host has the route '10.5.0.0/16 via 172.16.0.1 dev eth1 proto static metric 50', which is the overlay network 10.5.0.0/16; " +
        'remove it (ip route del 10.5.0.0/16 via 172.16.0.1 dev eth1 metric 50), or choose another Network',
    ],
    [
      route('10.5.9.9/32', 'eth1'),
      "this host has the route '10.5.9.9 dev eth1 scope link', inside the overlay network 10.5.0.0/16 but outside our subnet 10.5.1.0/24; " +
        'remove it (ip route del 10.5.9.9/32 dev eth1), or choose another Network',
    ],
    [
      route('10.5.0.0/20', 'eth1', { via: '172.16.0.1', protocol: bird }),
      "this host has the route '10.5.0.0/20 via 172.16.0.1 dev eth1 proto bird', inside the overlay network 10.5.0.0/16 but outside our subnet 10.5.1.0/24; " +
        'have it withdrawn by whoever makes it (proto bird), or choose another Network',
    ],
    [
      route('10.5.8.0/24', undefined, { type: 6, scope: 0 }),
      "this host has the route 'blackhole 10.5.8.0/24', inside the overlay network 10.5.0.0/16 but outside our subnet 10.5.1.0/24; " +
        'remove it (ip route del blackhole 10.5.8.0/24), or choose another Network',
    ],
    [
      route('10.5.8.0/24', undefined, { multipath: true, scope: 0, protocol: fixed }),
      "this host has the route '10.5.8.0/24 proto static', inside the overlay network 10.5.0.0/16 but outside our subnet 10.5.1.0/24; " +
        'remove it (ip route del 10.5.8.0/24), or choose another Network',
    ],
  ];
  for (const [one, wanted] of cases) t.same(told(input([one])), [`SUBNET_OVERLAP: ${wanted}`]);
});

t.test('many are one problem', async (t) => {
  const routes = [7, 3, 5].map((n) => route(`10.5.${n}.0/24`, 'eth0', { via: `192.168.0.${n}` }));
  t.match(told(input(routes)), [
    /^SUBNET_OVERLAP: this host has the route '10\.5\.3\.0\/24 via 192\.168\.0\.3 dev eth0' \(and 2 more like it\), inside/,
  ]);
});

t.test('a network around it', async (t) => {
  t.same(told(input([route('10.0.0.0/8', 'eth0', { protocol: kernel, source: '10.200.0.1' })])), [
    'warning: the network 10.5.0.0/16 lies inside 10.0.0.0/8 dev eth0 proto kernel scope link src 10.200.0.1: ' +
      'hosts there with addresses of the network cannot be reached',
  ]);
  t.same(told(input([route('10.0.0.0/8', 'eth0', { via: '192.168.0.9' })])), [], 'by a gateway it is fine');
  t.same(told(input([route('10.0.0.0/8', undefined, { type: 7 })])), [], 'and an unreachable one');
  t.same(told(input([route('0.0.0.0/0', 'eth1')])), [], 'and a default route without a gateway');
  t.same(told(input([route('10.0.0.0/8', 'eth0')], { ownDevices: ['eth0'] })), []);
});

t.test('the underlay address inside the network', async (t) => {
  const given = input([], { underlay: { iface: 'eth0', address4: '10.5.0.7' }, own: undefined });
  t.throws(() => assertNetworkFits(given), {
    code: 'SUBNET_OVERLAP',
    message: 'the underlay address 10.5.0.7 of eth0 lies inside the overlay network 10.5.0.0/16',
    remedy: 'choose another Network, or another interface with --iface',
  });
});

t.test('an address of another device: the address is named, not its route as well', async (t) => {
  const addresses = [address('10.5.9.1/24', 'cni0')];
  const connected = route('10.5.9.0/24', 'cni0', { protocol: kernel, source: '10.5.9.1' });
  const wanted = [
    'SUBNET_OVERLAP: cni0 of this host is on 10.5.9.0/24, inside the overlay network 10.5.0.0/16 but outside our subnet 10.5.1.0/24; ' +
      'remove that address (ip address show dev cni0), or choose another Network',
  ];
  t.same(told(input([connected], { addresses })), wanted);
  t.same(told(input([], { addresses })), wanted, 'also while the device is down and has no route');
  t.match(told(input([connected], { addresses: [] })), [
    /the route '10\.5\.9\.0\/24 dev cni0 .*; remove the address that it belongs to \(ip address show dev cni0\)/,
  ]);
});

t.test('before there is a lease', async (t) => {
  const at = (dst: string): readonly string[] =>
    told(input([route(dst, 'cni0', { via: '192.168.0.3' })], { own: undefined }));
  t.same(at('10.5.9.0/24'), [], 'it may become our own subnet');
  t.same(at('10.5.9.128/25'), []);
  t.match(at('10.5.8.0/23'), [/10\.5\.8\.0\/23 .*, inside the overlay network 10\.5\.0\.0\/16; remove it/]);
  t.match(at('10.5.0.0/16'), [/which is the overlay network/]);
  const addresses = [address('10.5.9.1/24', 'cni0')];
  t.same(told(input([], { addresses, own: undefined })), []);
});

t.test('both families, each by itself', async (t) => {
  const routes = [
    route('10.5.3.0/24', 'eth0', { via: '192.168.0.3' }),
    route('fd00:5:0:3::/64', 'eth0', { via: 'fd78::3', metric: 1024 }),
    route('fd00::/16', 'eth1', { protocol: kernel, metric: 256 }),
    route('fd00:5:0:1::/64', 'cni0', { protocol: kernel, metric: 256 }),
  ];
  const six = [
    "SUBNET_OVERLAP: this host has the route 'fd00:5:0:3::/64 via fd78::3 dev eth0 metric 1024', inside the overlay network fd00:5::/48 but outside our subnet fd00:5:0:1::/64; " +
      'remove it (ip -6 route del fd00:5:0:3::/64 via fd78::3 dev eth0 metric 1024), or choose another Network',
    'warning: the network fd00:5::/48 lies inside fd00::/16 dev eth1 proto kernel metric 256: hosts there with addresses of the network cannot be reached',
  ];
  t.same(told(input(routes, { config: v6 })), six);
  t.equal(told(input(routes)).length, 1);
  t.same(told(input(routes, { config: dual })).slice(1), six);
});

t.test('routes of other tables, and devices that are gone meanwhile', async (t) => {
  t.same(told(input([route('10.5.3.0/24', 'eth0', { table: 100 })])), []);
  t.match(told(input([{ ...route('10.5.3.0/24', 'eth0'), device: 99 }])), [/'10\.5\.3\.0\/24 scope link'/]);
  t.ok(findOverlaps(input([route('10.5.3.0/24', 'eth0')])).problems[0] instanceof KerseyError);
});
