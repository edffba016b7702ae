import t from 'tap';
import type { BackendConfig } from '../../../src/config/backend.ts';
import type { JsonObject, JsonValue } from '../../../src/config/json.ts';
import { normalConfig } from '../../../src/config/normal.ts';
import { parseNetworkConfig, subnetPool } from '../../../src/config/network.ts';
import { KerseyError } from '../../../src/errors.ts';
import { formatCidr } from '../../../src/net/cidr.ts';
import { formatIp } from '../../../src/net/ip.ts';
import type { Family } from '../../../src/net/ip.ts';

const vxlan = { Backend: { Type: 'vxlan' } } as const;
const v4 = { Network: '10.5.0.0/16', ...vxlan } as const;
const v6 = { EnableIPv4: false, EnableIPv6: true, IPv6Network: 'fd00:5::/48', ...vxlan } as const;

/** `network min..max/length` */
function pool(config: JsonObject, family: Family): string {
  const found = subnetPool(parseNetworkConfig(config), family);
  if (found === undefined) return 'none';
  const { network, length, min, max } = found;
  return `${formatCidr(network)} ${formatIp(family, min)}..${formatIp(family, max)}/${length}`;
}

function refusal(config: JsonValue, source?: string): KerseyError {
  try {
    parseNetworkConfig(config, source);
  } catch (error) {
    if (error instanceof KerseyError) return error;
    throw error;
  }
  throw new Error(`accepted: ${JSON.stringify(config)}`);
}

void t.test('defaults', (t) => {
  const config = parseNetworkConfig(v4);
  t.match(config, { enableIPv4: true, enableIPv6: false, enableNFTables: false });
  const off = { directRouting: false, gbp: false, learning: false };
  t.same(config.backend, { type: 'vxlan', vni: 1, port: 8472, ...off });
  t.notOk('ipv6Network' in config);
  t.equal(pool(v4, 4), '10.5.0.0/16 10.5.1.0..10.5.255.0/24', 'the first subnet is left out');
  t.equal(pool(v4, 6), 'none');
  t.equal(pool(v6, 4), 'none');
  t.equal(pool(v6, 6), 'fd00:5::/48 fd00:5:0:1::..fd00:5:0:ffff::/64');
  t.end();
});

void t.test('subnet lengths and bounds are those that flannel computes', (t) => {
  const cases: readonly (readonly [JsonObject, string])[] = [
    [{ Network: '10.5.9.9/22' }, '10.5.8.0/22 10.5.9.0..10.5.11.0/24'],
    [{ Network: '10.5.8.0/23' }, '10.5.8.0/23 10.5.8.128..10.5.9.128/25'],
    [{ Network: '10.5.8.0/28' }, '10.5.8.0/28 10.5.8.4..10.5.8.12/30'],
    [{ Network: '10.0.0.0/8', SubnetLen: 20 }, '10.0.0.0/8 10.0.16.0..10.255.240.0/20'],
    [
      { Network: '10.0.0.0/8', SubnetLen: 20, SubnetMin: '10.10.0.0', SubnetMax: '10.99.0.0' },
      '10.0.0.0/8 10.10.0.0..10.99.0.0/20',
    ],
    [
      { Network: '10.5.0.0/16', SubnetMin: '10.5.0.0', SubnetMax: '10.5.0.0' },
      '10.5.0.0/16 10.5.0.0..10.5.0.0/24',
    ],
    [{ Network: '10.5.0.0/16', SubnetLen: 0, SubnetMin: '0.0.0.0' }, '10.5.0.0/16 10.5.1.0..10.5.255.0/24'],
  ];
  for (const [config, expected] of cases)
    t.equal(pool({ ...vxlan, ...config }, 4), expected, JSON.stringify(config));

  const cases6: readonly (readonly [JsonObject, string])[] = [
    [{ IPv6Network: 'fd00::/62' }, 'fd00::/62 fd00:0:0:1::..fd00:0:0:3::/64'],
    [{ IPv6Network: 'fd00::/63' }, 'fd00::/63 fd00::8000:0:0:0..fd00:0:0:1:8000::/65'],
    [{ IPv6Network: 'fd00::/124' }, 'fd00::/124 fd00::4..fd00::c/126'],
    [
      { IPv6Network: 'fd00:12::/32', IPv6SubnetLen: 56, IPv6SubnetMin: 'fd00:12:13::' },
      'fd00:12::/32 fd00:12:13::..fd00:12:ffff:ff00::/56',
    ],
    [
      { IPv6Network: 'fd00::/48', IPv6SubnetMin: null, IPv6SubnetMax: '::' },
      'fd00::/48 fd00:0:0:1::..fd00:0:0:ffff::/64',
    ],
  ];
  for (const [config, expected] of cases6)
    t.equal(pool({ ...v6, ...config }, 6), expected, JSON.stringify(config));

  t.equal(pool({ ...v6, ...v4, EnableIPv4: true }, 4), '10.5.0.0/16 10.5.1.0..10.5.255.0/24', 'dual stack');
  t.equal(
    pool({ ...v6, ...v4, EnableIPv4: true }, 6),
    'fd00:5::/48 fd00:5:0:1::..fd00:5:0:ffff::/64',
    'dual stack',
  );
  t.end();
});

void t.test('keys: any case, unknown ones ignored, the last one counts, null is absent', (t) => {
  const config = parseNetworkConfig({
    network: '10.5.0.0/16',
    NETWORK: '10.6.0.0/16',
    enableipv6: null,
    Comment: { Network: 7 },
    SubnetLen: null,
    backend: { TYPE: 'VXLAN', vni: 42, port: 4789, mtu: 1400, Extra: [], learning: false, GBP: null },
  });
  t.equal(config.network && formatCidr(config.network), '10.6.0.0/16');
  t.match(config.backend, { type: 'vxlan', vni: 42, port: 4789, mtu: 1400 });
  t.end();
});

void t.test('limits of the VXLAN options', (t) => {
  const backend = (options: JsonObject): JsonObject => ({ ...v4, Backend: { Type: 'vxlan', ...options } });
  t.match(parseNetworkConfig(backend({ VNI: 0 })).backend, { vni: 0 }, 'the kernel takes VNI 0');
  t.match(parseNetworkConfig(backend({ VNI: 0xffffff, Port: 65535 })).backend, {
    vni: 0xffffff,
    port: 65535,
  });
  t.match(parseNetworkConfig(backend({ Port: 0 })).backend, { port: 8472 }, 'port 0 is the default');
  t.match(parseNetworkConfig(backend({ MTU: 626 })).backend, { mtu: 626 });
  t.match(parseNetworkConfig({ ...v6, Backend: { Type: 'vxlan', MTU: 1350 } }).backend, { mtu: 1350 });
  t.end();
});

void t.test('refusals name the key, say what is wrong and what to do', (t) => {
  const useOne =
    'use one of vxlan, udp, host-gw, ipip, wireguard, extension, alloc, the same on every host of the network';
  const backend = (options: JsonObject): JsonObject => ({ ...v4, Backend: { Type: 'vxlan', ...options } });
  const cases: readonly (readonly [JsonValue, string])[] = [
    [null, 'CONFIG_INVALID: config is null, not an object; write an object: {"key": value, ...}'],
    [
      [v4],
      'CONFIG_INVALID: config is [{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}], not an object; write an object: {"key": value, ...}',
    ],
    [
      { ...vxlan },
      'CONFIG_NETWORK_MISSING: config.Network is missing; add "Network": "10.5.0.0/16" to config, or for IPv6 alone add "EnableIPv4": false',
    ],
    [
      { ...v4, Network: '0.0.0.0/0' },
      'CONFIG_NETWORK_MISSING: config.Network is missing; add "Network": "10.5.0.0/16" to config, or for IPv6 alone add "EnableIPv4": false',
    ],
    [
      { ...v4, EnableIPv6: true },
      'CONFIG_NETWORK_MISSING: config.IPv6Network is missing; add "IPv6Network": "fd00:5::/48" to config, or remove "EnableIPv6"',
    ],
    [
      { ...v4, EnableIPv4: false },
      'CONFIG_INVALID: config.EnableIPv4 is false and config.EnableIPv6 is not true; enable one of them',
    ],
    [
      { ...v4, EnableIPv6: 'yes' },
      'CONFIG_INVALID: config.EnableIPv6 is "yes", not true or false; correct it, or leave the key out for its default',
    ],
    [
      { ...v4, Network: null },
      'CONFIG_INVALID: config.Network is null, not an IPv4 network such as "10.5.0.0/16"; correct it',
    ],
    [
      { ...v4, Network: 'fd00::/48' },
      'CONFIG_INVALID: config.Network is "fd00::/48", not an IPv4 network such as "10.5.0.0/16"; correct it',
    ],
    [
      { ...v4, Network: '10.5.0.0' },
      'CONFIG_INVALID: config.Network is "10.5.0.0", not an IPv4 network such as "10.5.0.0/16"; correct it',
    ],
    [
      { ...v4, Network: '10.5.0.0/29' },
      'CONFIG_INVALID: config.Network 10.5.0.0/29 is too small for four subnets of four addresses; use a prefix of /28 or shorter',
    ],
    [
      { ...v4, Network: '127.0.0.0/16' },
      'CONFIG_INVALID: config.Network 127.0.0.0/16 overlaps 127.0.0.0/8, which is never routed between hosts; choose a private network such as 10.5.0.0/16',
    ],
    [
      { ...v4, SubnetLen: 31 },
      'CONFIG_INVALID: config.SubnetLen is 31, not a whole number from 0 to 30; correct it, or leave the key out for its default',
    ],
    [
      { ...v4, SubnetLen: 24.5 },
      'CONFIG_INVALID: config.SubnetLen is 24.5, not a whole number from 0 to 30; correct it, or leave the key out for its default',
    ],
    [
      { ...v4, SubnetLen: '24' },
      'CONFIG_INVALID: config.SubnetLen is "24", not a whole number from 0 to 30; correct it, or leave the key out for its default',
    ],
    [
      { ...v4, SubnetLen: 17 },
      'CONFIG_INVALID: config.SubnetLen 17 leaves room for fewer than four subnets in 10.5.0.0/16; use 18 or more, or a wider config.Network',
    ],
    [
      { ...v4, SubnetMin: '10.6.0.0' },
      'CONFIG_INVALID: config.SubnetMin 10.6.0.0 is outside 10.5.0.0/16; use an address from 10.5.0.0 to 10.5.255.0',
    ],
    [
      { ...v4, SubnetMax: '10.4.0.0' },
      'CONFIG_INVALID: config.SubnetMax 10.4.0.0 is outside 10.5.0.0/16; use an address from 10.5.0.0 to 10.5.255.0',
    ],
    [
      { ...v4, SubnetMin: '10.5.1.128' },
      'CONFIG_INVALID: config.SubnetMin 10.5.1.128 is not the start of a /24 subnet; write 10.5.1.0',
    ],
    [
      { ...v4, SubnetMin: '10.5.9.0', SubnetMax: '10.5.8.0' },
      'CONFIG_INVALID: config.SubnetMin 10.5.9.0 is above config.SubnetMax 10.5.8.0; exchange or correct them, or leave them out for the whole network',
    ],
    [
      { ...v6, IPv6Network: 'fd00::/125' },
      'CONFIG_INVALID: config.IPv6Network fd00::/125 is too small for four subnets of four addresses; use a prefix of /124 or shorter',
    ],
    [
      { ...v6, IPv6Network: 'fe80::/64' },
      'CONFIG_INVALID: config.IPv6Network fe80::/64 overlaps fe80::/10, which is never routed between hosts; choose a private network such as fd00:5::/48',
    ],
    [
      { ...v6, IPv6SubnetLen: 127 },
      'CONFIG_INVALID: config.IPv6SubnetLen is 127, not a whole number from 0 to 126; correct it, or leave the key out for its default',
    ],
    [
      { ...v6, IPv6SubnetMax: 'fd00:5:0:1::1' },
      'CONFIG_INVALID: config.IPv6SubnetMax fd00:5:0:1::1 is not the start of a /64 subnet; write fd00:5:0:1::',
    ],
    [{ ...v4, Backend: {} }, `BACKEND_UNSUPPORTED: config.Backend.Type is missing; ${useOne}`],
    [
      { ...v4, Backend: { Type: 'warp' } },
      `BACKEND_UNSUPPORTED: config.Backend.Type is "warp", which nobody knows; ${useOne}`,
    ],
    [
      { ...v4, Backend: { Type: 'ipsec' } },
      `BACKEND_UNSUPPORTED: config.Backend.Type is "ipsec", which needs strongSwan and is not offered; "wireguard" encrypts as well; ${useOne}`,
    ],
    [
      { Network: '10.5.0.0/16', EnableIPv6: true, IPv6Network: 'fd00:5::/48', Backend: { Type: 'udp' } },
      'BACKEND_UNSUPPORTED: config.EnableIPv6 is true, and config.Backend.Type "udp" is for IPv4 alone: its packets have no room for IPv6; leave EnableIPv6 out, or use another backend such as vxlan',
    ],
    [
      { ...v4, Backend: { Type: 'wireguard', PSK: 'hunter2' } },
      'CONFIG_INVALID: config.Backend.PSK is not a key of 32 bytes in base64; make one with `wg genpsk`',
    ],
    [
      { ...v4, Backend: { Type: 'wireguard', Mode: 'ipv6' } },
      'CONFIG_INVALID: config.Backend.Mode is "ipv6", and IPv6 is not enabled; set config.EnableIPv6, or leave Mode out',
    ],
    [
      { ...v4, Backend: 'vxlan' },
      'CONFIG_INVALID: config.Backend is "vxlan", not an object; write an object: {"key": value, ...}',
    ],
    [
      { ...v4, Backend: { Type: 1 } },
      'CONFIG_INVALID: config.Backend.Type is 1, not a text such as "vxlan"; correct it',
    ],
    [
      backend({ VNI: 16777216 }),
      'CONFIG_INVALID: config.Backend.VNI is 16777216, not a whole number from 0 to 16777215; correct it, or leave the key out for its default',
    ],
    [
      backend({ VNI: -1 }),
      'CONFIG_INVALID: config.Backend.VNI is -1, not a whole number from 0 to 16777215; correct it, or leave the key out for its default',
    ],
    [
      backend({ Port: 65536 }),
      'CONFIG_INVALID: config.Backend.Port is 65536, not a whole number from 0 to 65535; correct it, or leave the key out for its default',
    ],
    [
      backend({ MTU: 625 }),
      'CONFIG_INVALID: config.Backend.MTU is 625, too small for IPv4 packets of 576 bytes inside VXLAN; use 626 or more: it is the MTU of the underlay, before VXLAN takes its part',
    ],
    [
      { ...v6, Backend: { Type: 'vxlan', MTU: 1349 } },
      'CONFIG_INVALID: config.Backend.MTU is 1349, too small for IPv6 packets of 1280 bytes inside VXLAN; use 1350 or more: it is the MTU of the underlay, before VXLAN takes its part',
    ],
  ];
  for (const [config, line] of cases) t.equal(refusal(config).line, line);
  t.end();
});

void t.test('the source stands before the key', (t) => {
  t.equal(
    refusal({ ...v4, SubnetLen: 99 }, '/etc/kersey/network.json').message,
    '/etc/kersey/network.json: config.SubnetLen is 99, not a whole number from 0 to 30',
  );
  t.equal(
    refusal({ ...v4, Network: 'x'.repeat(500) }).message.length < 160,
    true,
    'a long value is shortened',
  );
  t.end();
});

void t.test('what is disabled is not checked for sense, but for type', (t) => {
  t.equal(pool({ ...v6, Network: '10.5.0.0/30' }, 6), 'fd00:5::/48 fd00:5:0:1::..fd00:5:0:ffff::/64');
  t.match(refusal({ ...v6, Network: 7 }), { code: 'CONFIG_INVALID' });
  t.end();
});

void t.test("every backend, with flannel's defaults", (t) => {
  const cases: readonly (readonly [JsonValue, BackendConfig])[] = [
    [{ Type: 'UDP' }, { type: 'udp', port: 8285 }],
    [{ Type: 'host-gw' }, { type: 'host-gw' }],
    [{ Type: 'ipip' }, { type: 'ipip', directRouting: false }],
    [{ Type: 'alloc' }, { type: 'alloc' }],
    [
      { Type: 'extension', SubnetAddCommand: 'ip route add $SUBNET via $PUBLIC_IP', PreStartupCommand: ' ' },
      { type: 'extension', subnetAdd: 'ip route add $SUBNET via $PUBLIC_IP' },
    ],
    [
      { Type: 'wireguard' },
      { type: 'wireguard', listenPort: 51820, listenPortV6: 51821, keepalive: 0, mode: 'separate' },
    ],
  ];
  for (const [Backend, wanted] of cases) {
    const config = parseNetworkConfig({ Network: '10.5.0.0/16', Backend });
    t.same(config.backend, wanted);
    t.same(parseNetworkConfig(normalConfig(config)).backend, wanted, 'written out and read again');
  }
  t.match(
    parseNetworkConfig({ Network: '10.5.0.0/16' }).backend,
    { type: 'udp' },
    'what flannel does without one',
  );
  t.end();
});
