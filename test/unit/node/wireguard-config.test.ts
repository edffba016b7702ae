import t from 'tap';

import type { WireguardDevicePlan, WireguardPeer } from '../../../src/backend/plan.ts';
import { compare, configText, isEmpty, parseDump } from '../../../src/node/devices/wireguard-config.ts';
import type { LiveDevice } from '../../../src/node/devices/wireguard-config.ts';

const now = 1_000_000;

function key(n: number): string {
  return Buffer.alloc(32, n).toString('base64');
}

function peer(n: number, more: Partial<WireguardPeer> = {}): WireguardPeer {
  return {
    ...{ publicKey: key(n), endpoint: `192.168.78.${n}:51820`, keepalive: 0 },
    allowedIps: [`10.5.${n}.0/24`, `fd00:5:0:${n}::/64`],
    ...more,
  };
}

function plan(...peers: readonly WireguardPeer[]): WireguardDevicePlan {
  return {
    ...{ kind: 'wireguard', name: 'flannel-wg', family: 4, mtu: 1420, addresses: [], routes: [] },
    ...{ listenPort: 51820, privateKey: key(101), peers },
  };
}

/** What `wg show flannel-wg dump` prints, as of wireguard-tools 1.0.20210914. */
function dump(...peers: readonly (readonly string[])[]): LiveDevice {
  const own = [key(101), key(1), '51820', 'off'];
  const live = parseDump([own, ...peers].map((fields) => `${fields.join('\t')}\n`).join(''));
  if (live === undefined) throw new TypeError('not understood');
  return live;
}

function shown(
  n: number,
  { endpoint = `192.168.78.${n}:51820`, handshake = now, psk = '(none)', off = 'off' } = {},
) {
  // In the order in which the kernel has them.
  const allowed = `fd00:5:0:${n}::/64,10.5.${n}.0/24`;
  return [key(n), psk, endpoint, allowed, String(handshake), '1', '2', off];
}

const set = (...peers: readonly WireguardPeer[]): ReadonlyMap<string, string> =>
  new Map(peers.map(({ publicKey, endpoint }) => [publicKey, endpoint]));

t.test('what is as planned is no difference', (t) => {
  const planned = plan(peer(2), peer(3, { presharedKey: key(9), keepalive: 25 }));
  const live = dump(shown(2), shown(3, { psk: key(9), off: '25' }));
  const difference = compare(planned, live, set(...planned.peers), now);
  t.ok(isEmpty(difference));
  t.equal(configText(planned, difference), undefined);
  t.ok(isEmpty(compare(plan(), dump(), set(), now)));
  t.end();
});

t.test('a new device is told everything, and peers nobody planned are named', (t) => {
  const fresh = parseDump('(none)\t(none)\t0\toff\n');
  if (fresh === undefined) throw new TypeError('not understood');
  const planned = plan(peer(2, { presharedKey: key(9), keepalive: 25 }));
  t.equal(
    configText(planned, compare(planned, fresh, set(), now)),
    [
      ...['[Interface]', `PrivateKey = ${key(101)}`, 'ListenPort = 51820'],
      ...['[Peer]', `PublicKey = ${key(2)}`, `PresharedKey = ${key(9)}`],
      ...['AllowedIPs = 10.5.2.0/24, fd00:5:0:2::/64', 'PersistentKeepalive = 25'],
      ...['Endpoint = 192.168.78.2:51820', ''],
    ].join('\n'),
  );
  t.same(compare(plan(), dump(shown(5)), set(), now).remove, [key(5)]);
  t.end();
});

t.test('a pre-shared key that shall not be is taken away', (t) => {
  const planned = plan(peer(2));
  const text = configText(planned, compare(planned, dump(shown(2, { psk: key(9) })), set(peer(2)), now));
  t.match(text, `PresharedKey = ${key(0)}\n`);
  t.notMatch(text, 'Endpoint', 'the rest is left alone');
  t.notMatch(text, 'Interface');
  t.end();
});

t.test('a peer that is heard from elsewhere is followed while it is heard', (t) => {
  const planned = plan(peer(2));
  const elsewhere = (handshake: number): LiveDevice =>
    dump(shown(2, { endpoint: '203.0.113.9:40000', handshake }));
  const told = (live: LiveDevice, before = set(peer(2))): boolean =>
    compare(planned, live, before, now).set.some(({ endpoint }) => endpoint);
  t.notOk(told(elsewhere(now - 180)), 'it has a session');
  t.ok(told(elsewhere(now - 181)), 'it has none any more');
  t.ok(told(elsewhere(0)), 'it never had one');
  t.ok(told(elsewhere(now), set(peer(2, { endpoint: '192.168.78.7:1' }))), 'the plan is another');
  t.ok(told(elsewhere(now), set()), 'it was never told');
  t.ok(told(dump(shown(2, { endpoint: '(none)' }))), 'it has none');
  t.notOk(told(dump(shown(2)), set()), 'it is right already');
  t.end();
});

t.test('what is no dump is not understood', (t) => {
  for (const text of ['', '\n', 'Unable to access interface: No such device', 'a\tb\tc\td\nhalf a\tline']) {
    t.equal(parseDump(text), undefined);
  }
  t.end();
});
