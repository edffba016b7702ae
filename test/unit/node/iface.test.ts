import t from 'tap';

import { KerseyError } from '../../../src/errors.ts';
import type { Family } from '../../../src/net/ip.ts';
import type { Address } from '../../../src/netlink/address.ts';
import type { Link } from '../../../src/netlink/link.ts';
import type { Route } from '../../../src/netlink/route.ts';
import { chooseUnderlay } from '../../../src/node/iface.ts';
import type { HostNetwork, UnderlayWish } from '../../../src/node/iface.ts';

function link(index: number, name: string, mtu = 1500): Link {
  return {
    index,
    name,
    mtu,
    up: true,
    lowerUp: true,
    loopback: name === 'lo',
    txQueueLen: 1000,
    kind: undefined,
    mac: undefined,
    gsoMaxSize: undefined,
    gsoIpv4MaxSize: undefined,
    parent: undefined,
    master: undefined,
    tunnel: undefined,
  };
}

function address(index: number, ip: string, flags: Partial<Address> = {}): Address {
  const family = ip.includes(':') ? 6 : 4;
  return {
    index,
    family,
    ip,
    prefixLength: family === 4 ? 24 : 64,
    scope: 0,
    permanent: true,
    temporary: false,
    deprecated: false,
    ...flags,
  };
}

function route(family: Family, dst: string, device: number, more: Partial<Route> = {}): Route {
  return {
    family,
    dst,
    device,
    via: undefined,
    source: undefined,
    metric: 0,
    table: 254,
    protocol: 4,
    scope: 0,
    type: 1,
    onlink: false,
    multipath: false,
    ...more,
  };
}

interface World {
  links?: readonly Link[];
  addresses?: readonly Address[];
  routes?: readonly Route[];
  reach?: Readonly<Record<string, Route>>;
}

const vagrant: World = {
  links: [link(1, 'lo', 65536), link(2, 'enp0s3'), link(3, 'enp0s8', 9000), link(4, 'wlan0')],
  addresses: [
    address(1, '127.0.0.1'),
    address(2, '10.0.2.15'),
    address(2, 'fd00:2::15'),
    address(3, '192.168.56.11'),
    address(3, 'fd00:56::11'),
  ],
  routes: [
    route(4, '0.0.0.0/0', 2, { via: '10.0.2.2', metric: 100 }),
    route(4, '192.168.56.0/24', 3),
    route(6, '::/0', 2, { via: 'fd00:2::2' }),
  ],
  reach: { '192.168.56.99': route(4, '192.168.56.99/32', 3, { source: '192.168.56.11' }) },
};

function choose(wish: Partial<UnderlayWish>, families: readonly Family[] = [4], world: World = vagrant) {
  const host: HostNetwork = {
    links: () => world.links ?? [],
    addresses: () => world.addresses ?? [],
    routes: (family) => (world.routes ?? []).filter((entry) => entry.family === family),
    routeGet: (ip) => world.reach?.[ip],
  };
  const {
    link: chosen,
    ipv4,
    ipv6,
  } = chooseUnderlay({ ifaces: [], ifaceRegexes: [], ...wish }, families, host);
  return [chosen.name, ipv4?.address, ipv4?.publicAddress, ipv6?.address, ipv6?.publicAddress];
}

function refused(
  wish: Partial<UnderlayWish>,
  families: readonly Family[] = [4],
  world: World = vagrant,
): string {
  try {
    choose(wish, families, world);
  } catch (error) {
    if (error instanceof KerseyError) return error.line;
    throw error;
  }
  throw new Error('not refused');
}

t.test('without a wish: the default route', async (t) => {
  t.same(choose({}), ['enp0s3', '10.0.2.15', '10.0.2.15', undefined, undefined]);
  t.same(choose({}, [4, 6]), ['enp0s3', '10.0.2.15', '10.0.2.15', 'fd00:2::15', 'fd00:2::15']);
  const two = {
    ...vagrant,
    routes: [route(4, '0.0.0.0/0', 2, { metric: 600 }), route(4, '0.0.0.0/0', 3, { metric: 100 })],
  };
  t.equal(choose({}, [4], two)[0], 'enp0s8', 'the one the kernel prefers');
  t.match(
    refused({}, [4], { ...vagrant, routes: [] }),
    /IFACE_NOT_FOUND.*no IPv4 default route.*enp0s3 \(10\.0\.2\.15\)/,
  );
  const apart = { ...vagrant, routes: [route(4, '0.0.0.0/0', 2), route(6, '::/0', 3)] };
  t.match(refused({}, [4, 6], apart), /IPv4 default route leads to enp0s3, the IPv6 one to enp0s8/);
});

t.test('--iface by name or address; the first that fits', async (t) => {
  t.equal(choose({ ifaces: ['enp0s8'] })[1], '192.168.56.11');
  t.equal(choose({ ifaces: ['nope', '192.168.56.11', 'enp0s3'] })[0], 'enp0s8');
  t.equal(choose({ ifaces: ['FD00:56:0::11'] }, [6])[0], 'enp0s8', 'however the address is written');
  t.match(
    refused({ ifaces: ['eth9'] }),
    /IFACE_NOT_FOUND: no interface fits --iface eth9; choose one of enp0s3 \(10\.0\.2\.15\), enp0s8 \(192\.168\.56\.11\), wlan0 \(no usable address\)/,
  );
  t.match(refused({ ifaces: ['wlan0'] }), /wlan0 has no IPv4 address/);
});

t.test('--iface-regex: addresses of all interfaces before names', async (t) => {
  t.equal(choose({ ifaceRegexes: ['^192\\.168\\.'] })[0], 'enp0s8');
  t.equal(choose({ ifaceRegexes: ['s8$'] })[0], 'enp0s8');
  t.equal(choose({ ifaceRegexes: ['^nope', '^enp'] })[0], 'enp0s3');
  t.equal(choose({ ifaces: ['enp0s8'], ifaceRegexes: ['s3$'] })[0], 'enp0s8', '--iface comes first');
  t.match(refused({ ifaceRegexes: ['('] }), /^USAGE: --iface-regex \( is not a regular expression/);
});

t.test('--iface-can-reach: the interface and the source of that route', async (t) => {
  t.same(choose({ ifaceCanReach: '192.168.56.99' }).slice(0, 2), ['enp0s8', '192.168.56.11']);
  t.match(refused({ ifaceCanReach: '203.0.113.1' }), /no interface fits --iface-can-reach 203\.0\.113\.1/);
  t.match(refused({ ifaceCanReach: 'x' }), /^USAGE/);
});

t.test('--public-ip alone is looked for on the interfaces', async (t) => {
  t.equal(choose({ publicIp: '192.168.56.11' })[0], 'enp0s8');
  t.match(
    refused({ publicIp: '203.0.113.7' }),
    /ADDRESS_NOT_LOCAL: --public-ip 203\.0\.113\.7 is on no interface.*--iface/,
  );
  t.match(
    refused({ publicIp: 'fd00::1', ifaces: ['enp0s8'] }),
    /^USAGE: --public-ip fd00::1 is not an IPv4 address/,
  );
});

t.test('with --iface, --public-ip may be the outside of a NAT: frames leave from the inside', async (t) => {
  t.same(choose({ ifaces: ['enp0s8'], publicIp: '203.0.113.7' }).slice(0, 3), [
    'enp0s8',
    '192.168.56.11',
    '203.0.113.7',
  ]);
});

t.test('of several addresses the best: global, permanent, stable, never deprecated', async (t) => {
  const world = (addresses: readonly Address[]): World => ({ links: [link(2, 'eth0')], addresses });
  const best = (family: Family, ...addresses: readonly Address[]): string | undefined =>
    choose({ ifaces: ['eth0'] }, [family], world(addresses))[family === 4 ? 1 : 3];
  t.equal(best(4, address(2, '169.254.7.7'), address(2, '192.0.2.1')), '192.0.2.1');
  t.equal(best(4, address(2, '169.254.7.7')), '169.254.7.7', 'better than nothing');
  t.equal(best(4, address(2, '192.0.2.9', { permanent: false }), address(2, '192.0.2.1')), '192.0.2.1');
  t.equal(
    best(6, address(2, 'fe80::1'), address(2, 'fd00::2', { temporary: true }), address(2, 'fd00::1')),
    'fd00::1',
  );
  t.equal(best(4, address(2, '192.0.2.9', { deprecated: true }), address(2, '192.0.2.1')), '192.0.2.1');
  t.equal(best(4, address(2, '192.0.2.5'), address(2, '192.0.2.1')), '192.0.2.5', 'else the first');
  t.match(refused({ ifaces: ['eth0'] }, [6], world([address(2, 'fe80::1')])), /has no IPv6 address/);
});

t.test('the address that was asked for is the one that is used', async (t) => {
  const world: World = {
    links: [link(2, 'eth0')],
    addresses: [address(2, '192.0.2.1'), address(2, '192.0.2.2')],
  };
  t.equal(choose({ ifaces: ['192.0.2.2'] }, [4], world)[1], '192.0.2.2');
  t.equal(choose({ ifaces: ['eth0'], publicIp: '192.0.2.2' }, [4], world)[1], '192.0.2.2');
});
