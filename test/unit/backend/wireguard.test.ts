import t from 'tap';

import type { HostFacts } from '../../../src/backend/backend.ts';
import type { Plan, WireguardDevicePlan } from '../../../src/backend/plan.ts';
import { WireguardBackend } from '../../../src/backend/wireguard/wireguard.ts';
import type { JsonObject } from '../../../src/config/json.ts';
import { parseNetworkConfig } from '../../../src/config/network.ts';
import { parseCidr } from '../../../src/net/cidr.ts';
import type { Lease } from '../../../src/store/lease.ts';

const dual: JsonObject = { Network: '10.5.0.0/16', EnableIPv6: true, IPv6Network: 'fd00:5::/48' };
const only4: JsonObject = { Network: '10.5.0.0/16' };
const only6: JsonObject = { EnableIPv4: false, EnableIPv6: true, IPv6Network: 'fd00:5::/48' };

function key(n: number): string {
  return Buffer.alloc(32, n).toString('base64');
}

const host: HostFacts = {
  ...{ iface: 'eth0', ifaceMtu: 1500, address4: '192.168.78.1', address6: 'fd78::1' },
  attached: [{ cidr: parseCidr('192.168.78.0/24'), device: 'eth0' }],
};

function backend(network: JsonObject, wireguard: JsonObject = {}): WireguardBackend {
  const config = parseNetworkConfig({ ...network, Backend: { Type: 'wireguard', ...wireguard } });
  if (config.backend.type !== 'wireguard') throw new TypeError('another backend');
  return new WireguardBackend(
    config.backend,
    { config, options: {}, dataplane: 'kernel', underlay: {} },
    { privateKey: key(101), publicKey: key(1) },
  );
}

/** The lease of host n, with both families. */
function lease(n: number, attrs: Partial<Lease['attrs']> = {}, more: Partial<Lease> = {}): Lease {
  return {
    subnet: parseCidr(`10.5.${n}.0/24`),
    subnet6: parseCidr(`fd00:5:0:${n}::/64`),
    ...more,
    attrs: {
      ...{ publicIP: `192.168.78.${n}`, publicIPv6: `fd78::${n}`, backendType: 'wireguard' },
      backendData: { PublicKey: key(n), Port: 51820 },
      backendV6Data: { PublicKey: key(n), Port: 51821 },
      ...attrs,
    },
  };
}

function plan(of: WireguardBackend, leases: readonly Lease[], own = lease(1)): Plan {
  return of.plan({ own, leases: [own, ...leases], host });
}

function devices(planned: Plan): readonly WireguardDevicePlan[] {
  return planned.devices.map((device) => device as WireguardDevicePlan);
}

/** Name, port, routes and where the peers are. */
function summary(planned: Plan): readonly unknown[] {
  return devices(planned).map(({ name, listenPort, addresses, routes, peers }) => ({
    ...{ name, listenPort, addresses, routes: routes.map(({ dst }) => dst) },
    peers: peers.map(({ endpoint, allowedIps }) => [endpoint, ...allowedIps]),
  }));
}

const wg4 = { name: 'flannel-wg', listenPort: 51820, addresses: ['10.5.1.0/32'], routes: ['10.5.0.0/16'] };
const wg6 = {
  ...{ name: 'flannel-wg-v6', listenPort: 51821 },
  ...{ addresses: ['fd00:5:0:1::/128'], routes: ['fd00:5::/48'] },
};
const both = {
  ...wg4,
  addresses: [...wg4.addresses, ...wg6.addresses],
  routes: [...wg4.routes, ...wg6.routes],
};
const subnets = ['10.5.2.0/24', 'fd00:5:0:2::/64'];

t.test('separate: a device for each family that is enabled', (t) => {
  t.same(summary(plan(backend(dual), [lease(2)])), [
    { ...wg4, peers: [['192.168.78.2:51820', '10.5.2.0/24']] },
    { ...wg6, peers: [['[fd78::2]:51821', 'fd00:5:0:2::/64']] },
  ]);
  t.same(summary(plan(backend(only4), [lease(2)])), [
    { ...wg4, peers: [['192.168.78.2:51820', '10.5.2.0/24']] },
  ]);
  t.same(summary(plan(backend(only6), [lease(2)])), [
    { ...wg6, peers: [['[fd78::2]:51821', 'fd00:5:0:2::/64']] },
  ]);
  t.end();
});

t.test('one device carries the enabled families, and has no route for another', (t) => {
  t.same(summary(plan(backend(dual, { Mode: 'ipv4' }), [lease(2)])), [
    { ...both, peers: [['192.168.78.2:51820', ...subnets]] },
  ]);
  t.same(summary(plan(backend(dual, { Mode: 'ipv6' }), [lease(2)])), [
    { ...both, peers: [['[fd78::2]:51821', ...subnets]] },
  ]);
  t.same(summary(plan(backend(only4, { Mode: 'auto' }), [lease(2)])), [
    { ...wg4, peers: [['192.168.78.2:51820', '10.5.2.0/24']] },
  ]);
  t.same(summary(plan(backend(only6, { Mode: 'ipv6' }), [lease(2)])), [
    { ...wg6, name: 'flannel-wg', listenPort: 51820, peers: [['[fd78::2]:51821', 'fd00:5:0:2::/64']] },
  ]);
  t.end();
});

t.test('auto goes over IPv4 unless only IPv6 can work between the two', (t) => {
  const over = (theirs: Partial<Lease['attrs']>, ours: Partial<Lease['attrs']>): unknown =>
    devices(plan(backend(dual, { Mode: 'auto' }), [lease(2, theirs)], lease(1, ours)))[0]?.peers[0]?.endpoint;
  const global = { publicIPv6: '2001:db8::1' };
  const theirs6 = { publicIPv6: '2001:db8::2' };
  t.equal(over(theirs6, global), '[2001:db8::2]:51821', 'its IPv4 is private, both IPv6 are not');
  t.equal(over({ ...theirs6, publicIP: '203.0.113.2' }, global), '203.0.113.2:51820', 'its IPv4 is public');
  t.equal(over({}, global), '192.168.78.2:51820', 'its IPv6 is local');
  t.equal(over(theirs6, {}), '192.168.78.2:51820', 'our IPv6 is local');
  t.end();
});

t.test('leases say the key and the port that the device listens on', (t) => {
  const data = (of: WireguardBackend): unknown[] => [of.leaseData(4), of.leaseData(6)];
  const ports = { ListenPort: 1000, ListenPortV6: 2000 };
  t.same(data(backend(dual, ports)), [
    { PublicKey: key(1), Port: 1000 },
    { PublicKey: key(1), Port: 2000 },
  ]);
  t.same(data(backend(dual, { ...ports, Mode: 'ipv6' })), [
    { PublicKey: key(1), Port: 1000 },
    { PublicKey: key(1), Port: 1000 },
  ]);
  t.equal(
    JSON.stringify(backend(dual).leaseData(4)),
    `{"PublicKey":"${key(1)}","Port":51820}`,
    'in this order',
  );
  t.same(
    backend(dual, { ListenPort: 0 }).leaseData(4),
    { PublicKey: key(1), Port: 51820 },
    'not a random one',
  );
  const of = backend(dual, ports);
  t.ok(of.isComplete(4, of.leaseData(4)));
  t.notOk(of.isComplete(6, of.leaseData(4)), 'the port of the other family');
  t.notOk(of.isComplete(4, { PublicKey: key(9), Port: 1000 }), 'another key');
  t.notOk(of.isComplete(4, undefined));
  t.end();
});

t.test('a peer without a port is where we would listen', (t) => {
  const old = lease(2, { backendData: { PublicKey: key(2) }, backendV6Data: { PublicKey: key(2), Port: 0 } });
  const endpoints = devices(plan(backend(dual, { ListenPort: 1000, ListenPortV6: 2000 }), [old])).map(
    ({ peers }) => peers[0]?.endpoint,
  );
  t.same(endpoints, ['192.168.78.2:1000', '[fd78::2]:2000']);
  t.end();
});

t.test('MTU, pre-shared key and keepalive', (t) => {
  const [device] = devices(
    plan(backend(only4, { PSK: key(7), PersistentKeepaliveInterval: 25 }), [lease(2)]),
  );
  t.match(device, { mtu: 1420, privateKey: key(101), peers: [{ presharedKey: key(7), keepalive: 25 }] });
  t.equal(plan(backend(dual, { MTU: 9000 }), []).mtu, 8920);
  t.throws(() => backend(dual).device(4, { ...host, ifaceMtu: 600 }), { code: 'MTU_TOO_SMALL' });
  const one = backend(dual, { Mode: 'auto' });
  t.throws(() => one.device(4, { ...host, ifaceMtu: 1300 }), { code: 'MTU_TOO_SMALL' }, 'it has IPv6 in it');
  t.equal(one.device(6, host), undefined, 'it is that of the first family');
  t.same([one.deviceNames, backend(dual).deviceNames], [['flannel-wg'], ['flannel-wg', 'flannel-wg-v6']]);
  t.end();
});

t.test('a lease that cannot be used takes no other with it', (t) => {
  const bad: readonly (readonly [Lease, RegExp])[] = [
    [lease(3, { backendType: 'vxlan' }), /its backend is "vxlan"/],
    [lease(4, { backendData: null }), /BackendData\.PublicKey is missing/],
    [lease(5, { backendData: { PublicKey: 'AAAA' } }), /BackendData\.PublicKey is missing/],
    [lease(6, { backendData: { PublicKey: Buffer.alloc(32).toString('base64') } }), /not a WireGuard key/],
    [lease(7, { backendData: { PublicKey: `${key(7)}\nEndpoint = 1.2.3.4:5` } }), /not a WireGuard key/],
    [lease(8, { backendData: { PublicKey: key(1) } }), /its public key is our own/],
    [lease(9, { publicIP: '10.5.2.7' }), /would loop/],
    [lease(10, {}, { subnet: parseCidr('10.9.0.0/24') }), /outside the network/],
  ];
  for (const [one, reason] of bad) {
    const planned = plan(backend(only4), [one, lease(2)]);
    t.match(planned.warnings, [reason]);
    t.same(
      devices(planned)[0]?.peers.map(({ publicKey }) => publicKey),
      [key(2)],
    );
  }
  t.end();
});

t.test('two leases with one key are one peer with both subnets', (t) => {
  const same = { backendData: { PublicKey: key(2), Port: 51820 } };
  const calm = plan(backend(only4), [lease(2), lease(3, { ...same, publicIP: '192.168.78.2' })]);
  t.same(
    devices(calm)[0]?.peers.map(({ allowedIps }) => allowedIps),
    [['10.5.2.0/24', '10.5.3.0/24']],
  );
  t.same(calm.warnings, []);
  const moved = plan(backend(only4), [lease(3, same), lease(2)]);
  t.same(
    devices(moved)[0]?.peers.map(({ endpoint }) => endpoint),
    ['192.168.78.2:51820'],
    'whatever their order',
  );
  t.match(moved.warnings, [/10\.5\.2\.0\/24, 10\.5\.3\.0\/24 have one public key/]);
  t.end();
});

t.test('the peers are told by subnet, address and key', (t) => {
  t.same(plan(backend(dual, { Mode: 'ipv6' }), [lease(2)]).peers, [
    { prefix: '10.5.2.0/24', outer: 'fd78::2', detail: key(2) },
    { prefix: 'fd00:5:0:2::/64', outer: 'fd78::2', detail: key(2) },
  ]);
  t.end();
});
