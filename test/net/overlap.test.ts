// Routes as `ip route` prints them, and overlaps of a real host: what we name is what `ip route` shows, and the remedy
// that we give, run as it stands, is one.

import { execFileSync } from 'node:child_process';
import t from 'tap';

import { parseNetworkConfig } from '../../src/config/network.ts';
import { parseCidr } from '../../src/net/cidr.ts';
import { Netlink } from '../../src/netlink/client.ts';
import { KERSEY_RTPROT } from '../../src/netlink/constants.ts';
import { routeText } from '../../src/netlink/route-text.ts';
import { findOverlaps } from '../../src/node/overlap.ts';
import type { Overlaps } from '../../src/node/overlap.ts';
import { inOwnNetns } from '../lib/own-netns.ts';

function ip(line: string): string {
  return execFileSync('ip', line.split(' '), { encoding: 'utf8' });
}

const config = parseNetworkConfig({
  Network: '10.5.0.0/16',
  EnableIPv6: true,
  IPv6Network: 'fd00:5::/48',
  Backend: { Type: 'vxlan' },
});

if (inOwnNetns(import.meta.filename)) {
  const netlink = Netlink.open();
  t.teardown(() => {
    netlink.close();
  });
  for (const line of [
    'link set lo up',
    'link add eth0 type veth peer name far0',
    'link set eth0 up',
    'link set far0 up',
    'address add 192.168.0.1/24 dev eth0',
    'address add fd78::1/64 dev eth0 nodad',
    'route add default via 192.168.0.254',
    'link add cni0 type bridge',
    'link set cni0 up',
    'address add 10.5.1.1/24 dev cni0',
  ]) {
    ip(line);
  }

  const overlaps = (): Overlaps =>
    findOverlaps({
      config,
      own: { subnet: parseCidr('10.5.1.0/24'), subnet6: parseCidr('fd00:5:0:1::/64') },
      underlay: { iface: 'eth0', address4: '192.168.0.1', address6: 'fd78::1' },
      links: netlink.links(),
      addresses: netlink.addresses(),
      routes: [...netlink.routes(4), ...netlink.routes(6)],
      ownDevices: ['flannel.1'],
      ownProtocol: KERSEY_RTPROT,
    });
  const shown = (family: 4 | 6): string[] =>
    ip(`-${family} route show`)
      .split('\n')
      // The state of the carrier, and what IPv6 routers prefer, are not the route's.
      .map((line) => line.replace(/ (linkdown|pref medium)\b/g, '').trim())
      .filter((line) => line !== '');

  t.test('a host with its bridge and a default route is fine', async (t) => {
    t.same(overlaps(), { problems: [], warnings: [] });
  });

  const foreign = [
    '10.5.3.0/24 via 192.168.0.3 dev eth0',
    '10.5.4.0/24 via 192.168.0.4 dev eth0 proto static metric 50',
    '10.5.5.0/24 via 10.9.9.9 dev eth0 proto bird onlink',
    '10.5.6.6 dev eth0 proto static scope link src 192.168.0.1',
    'blackhole 10.5.7.0/24',
    '10.5.0.0/16 via 192.168.0.9 dev eth0 proto dhcp metric 7',
    'fd00:5:0:3::/64 via fd78::3 dev eth0 metric 1024',
    'fd00:5:0:4::/64 dev eth0 proto ra metric 5',
    'fd00:5::/48 via fd78::9 dev eth0 proto 77 metric 1024 onlink',
  ];

  t.test('routes are what `ip route` prints', async (t) => {
    for (const line of foreign) ip(`route add ${line}`);
    ip('route add 10.0.0.0/8 dev eth0 scope link');
    const names = new Map(netlink.links().map(({ index, name }) => [index, name]));
    for (const family of [4, 6] as const) {
      const read = netlink.routes(family).map((one) => routeText(one, names.get(one.device ?? 0)));
      t.same([...read].sort(), shown(family).sort());
    }
  });

  t.test('each is named, and gone by its remedy where that is ours to give', async (t) => {
    t.match(overlaps().warnings, [/lies inside 10\.0\.0\.0\/8 dev eth0 scope link: /]);
    const named: string[] = [];
    for (let { problems } = overlaps(); problems[0] !== undefined; { problems } = overlaps()) {
      const [{ message, remedy }] = problems;
      const text = /'([^']*)'/.exec(message)?.[1] ?? '';
      named.push(text);
      const command = /\(ip (.*)\)/.exec(remedy)?.[1];
      const before = shown(4).length + shown(6).length;
      ip(command ?? `route del ${text}`);
      t.equal(shown(4).length + shown(6).length, before - 1, remedy);
    }
    t.same(named.sort(), [...foreign].sort());
    t.same(overlaps().problems, []);
  });

  t.test('an address of another device', async (t) => {
    ip('address add 10.5.9.1/24 dev cni0');
    t.match(overlaps().problems, [
      { code: 'SUBNET_OVERLAP', message: /^cni0 of this host is on 10\.5\.9\.0\/24/ },
    ]);
    ip('address del 10.5.9.1/24 dev cni0');
    t.same(overlaps().problems, []);
  });
}
