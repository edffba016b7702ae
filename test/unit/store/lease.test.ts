import fc from 'fast-check';
import t from 'tap';
import { KerseyError } from '../../../src/errors.ts';
import { cidrAround, cidrEqual, formatCidr, parseCidr } from '../../../src/net/cidr.ts';
import {
  decodeAttrs,
  decodeTable,
  foreignMembers,
  formatLeaseKey,
  formatLeaseValue,
  parseLeaseKey,
} from '../../../src/store/lease.ts';
import type { JsonValue, LeaseAttrs, LeaseSubnets } from '../../../src/store/lease.ts';

function subnets(v4?: string, v6?: string): LeaseSubnets {
  return {
    subnet: v4 === undefined ? undefined : parseCidr(v4),
    subnet6: v6 === undefined ? undefined : parseCidr(v6),
  };
}

function refusal(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof KerseyError && error.code === 'STORE_MALFORMED')
      return `${error.message}; ${error.remedy}`;
    throw error;
  }
  throw new Error('accepted');
}

void t.test("flannel's keys, to the byte", (t) => {
  const cases: readonly (readonly [string, LeaseSubnets])[] = [
    ['10.5.1.0-24', subnets('10.5.1.0/24')],
    ['10.12.13.0-24&fd00:12:13::-56', subnets('10.12.13.0/24', 'fd00:12:13::/56')],
    ['0.0.0.0-0&fd00:12:13::-56', subnets(undefined, 'fd00:12:13::/56')],
  ];
  for (const [key, value] of cases) {
    t.equal(formatLeaseKey(value), key);
    t.same(parseLeaseKey(key), value);
  }
  t.same(
    parseLeaseKey('/coreos.com/network/subnets/10.5.1.0-24'),
    subnets('10.5.1.0/24'),
    'the expression is open at the start',
  );
  t.same(parseLeaseKey('10.5.1.0-24&fd00:12:13:0:0:0:0:0-64'), subnets('10.5.1.0/24', 'fd00:12:13::/64'));
  t.throws(() => formatLeaseKey(subnets()), RangeError);
  t.end();
});

void t.test('keys that flannel ignores, and some it should', (t) => {
  const shape = 'the key is not a subnet; write it as 10.5.1.0-24 or 10.5.1.0-24&fd00:5:1::-64';
  const cases: readonly (readonly [string, string])[] = [
    ['', shape],
    ['10.5.1.0', shape],
    ['10.5.1.0/24', shape],
    ['10.5.1.0-24/', shape],
    ['10.5.1.0-24&FD00::-64', shape],
    ['10.5.1.0-24&fd00::', shape],
    ['fd00::-64', shape],
    ['10.5.1.256-24', '10.5.1.256 is not an IPv4 address; correct the key'],
    ['10.5x1x0-24', '10.5x1x0 is not an IPv4 address; correct the key'],
    ['10.5.1.0-32', '/32 is too long; use /31 or shorter'],
    ['10.5.1.0-24&fd00::-128', '/128 is too long; use /127 or shorter'],
    ['10.5.1.0-24&fd00:::-64', 'fd00::: is not an IPv6 address; correct the key'],
    ['10.5.1.7-24', '10.5.1.7 is not the start of a /24 subnet; write 10.5.1.0-24'],
    ['10.5.1.0-24&fd00::1-64', 'fd00::1 is not the start of a /64 subnet; write fd00::-64'],
    ['0.0.0.0-0', 'the key has no subnet; remove it'],
  ];
  for (const [key, message] of cases)
    t.equal(
      refusal(() => parseLeaseKey(key)),
      message,
      key,
    );
  t.end();
});

void t.test("flannel's values, to the byte", (t) => {
  const cases: readonly (readonly [string, LeaseAttrs])[] = [
    [
      '{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}',
      {
        publicIP: '192.168.64.3',
        publicIPv6: null,
        backendType: 'vxlan',
        backendData: { VNI: 1, VtepMAC: 'c6:d2:32:6f:8f:44' },
      },
    ],
    [
      '{"PublicIP":"192.168.64.3","PublicIPv6":"fd00:64::3","BackendType":"vxlan","BackendData":{"VNI":1},"BackendV6Data":{"VNI":1}}',
      {
        publicIP: '192.168.64.3',
        publicIPv6: 'fd00:64::3',
        backendType: 'vxlan',
        backendData: { VNI: 1 },
        backendV6Data: { VNI: 1 },
      },
    ],
    ['{"PublicIP":"1.2.3.4","PublicIPv6":null}', { publicIP: '1.2.3.4', publicIPv6: null }],
    [
      '{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"host-gw"}',
      { publicIP: '1.2.3.4', publicIPv6: null, backendType: 'host-gw' },
    ],
    ['{"PublicIP":"0.0.0.0","PublicIPv6":"fd00::1"}', { publicIP: null, publicIPv6: 'fd00::1' }],
    [
      '{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"extension","BackendData":"a\\u0026b\\u003c\\u003e\\u2028"}',
      { publicIP: '1.2.3.4', publicIPv6: null, backendType: 'extension', backendData: 'a&b<>\u2028' },
    ],
    [
      '{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendData":null}',
      { publicIP: '1.2.3.4', publicIPv6: null, backendData: null },
    ],
  ];
  for (const [text, attrs] of cases) {
    t.equal(formatLeaseValue(attrs), text);
    t.same(decodeAttrs(JSON.parse(text) as JsonValue), attrs);
  }
  t.equal(
    formatLeaseValue({ publicIP: '1.2.3.4', publicIPv6: null, backendType: '' }),
    '{"PublicIP":"1.2.3.4","PublicIPv6":null}',
  );
  t.end();
});

void t.test("values are read by Go's rules", (t) => {
  t.same(decodeAttrs({ publicip: '1.2.3.4', BACKENDTYPE: 'vxlan', backenddata: { vni: 1 }, Comment: 7 }), {
    publicIP: '1.2.3.4',
    publicIPv6: null,
    backendType: 'vxlan',
    backendData: { vni: 1 },
  });
  t.same(decodeAttrs({ PublicIP: '1.2.3.4', PublicIPv6: 'FD00:0::1', BackendType: null }), {
    publicIP: '1.2.3.4',
    publicIPv6: 'fd00::1',
  });
  t.same(foreignMembers({ publicip: '1.2.3.4', Comment: 7 }), { Comment: 7 });

  const cases: readonly (readonly [JsonValue, string])[] = [
    [null, 'the value is null, not an object; write {"PublicIP": "192.168.0.1", ...}'],
    ['x', 'the value is "x", not an object; write {"PublicIP": "192.168.0.1", ...}'],
    [{ PublicIP: null }, 'PublicIP is null, not an IPv4 address; correct it or leave it out'],
    [{ PublicIP: 'fd00::1' }, 'PublicIP is "fd00::1", not an IPv4 address; correct it or leave it out'],
    [{ PublicIP: 16909060 }, 'PublicIP is 16909060, not an IPv4 address; correct it or leave it out'],
    [
      { PublicIP: '1.2.3.4', PublicIPv6: '1.2.3.4' },
      'PublicIPv6 is "1.2.3.4", not an IPv6 address; correct it or leave it out',
    ],
    [{ PublicIP: '1.2.3.4', BackendType: 1 }, 'BackendType is 1, not a text; correct it'],
  ];
  for (const [value, message] of cases)
    t.equal(
      refusal(() => decodeAttrs(value)),
      message,
      JSON.stringify(value),
    );
  t.end();
});

void t.test('a bad entry is a warning, and takes no other entry with it', (t) => {
  const good = { PublicIP: '192.168.0.1', PublicIPv6: null };
  const table = decodeTable(
    Object.entries({
      '10.5.1.0-24': good,
      'not-a-key': good,
      '10.5.2.0-24': { PublicIP: 'nowhere' },
      '10.5.3.0-24': {},
      '10.5.4.0-24': good,
    }),
  );
  t.same(
    table.entries.map(({ key, attrs }) => [key, attrs?.publicIP]),
    [
      ['10.5.1.0-24', '192.168.0.1'],
      ['10.5.2.0-24', undefined],
      ['10.5.3.0-24', undefined],
      ['10.5.4.0-24', '192.168.0.1'],
    ],
    'the subnet of a bad value still counts',
  );
  t.same(table.warnings, [
    'leases["not-a-key"]: the key is not a subnet; write it as 10.5.1.0-24 or 10.5.1.0-24&fd00:5:1::-64',
    'leases["10.5.2.0-24"]: PublicIP is "nowhere", not an IPv4 address; correct it or leave it out',
    'leases["10.5.3.0-24"]: there is no PublicIP, so nobody can reach the host; add it, or remove the entry',
  ]);
  t.end();
});

void t.test('property: every key survives the round trip', (t) => {
  const part4 = fc
    .tuple(fc.bigInt({ min: 1n, max: (1n << 32n) - 1n }), fc.integer({ min: 1, max: 31 }))
    .map(([base, length]) => cidrAround(4, base, length));
  const part6 = fc
    .tuple(fc.bigInt({ min: 1n, max: (1n << 128n) - 1n }), fc.integer({ min: 1, max: 127 }))
    .map(([base, length]) => cidrAround(6, base, length));
  const either = fc.oneof(
    fc.record({ subnet: part4, subnet6: fc.constant(undefined) }),
    fc.record({ subnet: fc.option(part4, { nil: undefined }), subnet6: part6 }),
  );
  fc.assert(
    fc.property(either, (lease) => {
      const parsed = parseLeaseKey(formatLeaseKey(lease));
      return cidrEqual(parsed.subnet, lease.subnet) && cidrEqual(parsed.subnet6, lease.subnet6);
    }),
  );
  t.pass('holds');
  t.end();
});

void t.test('property: any text as a key either is a subnet or is refused', (t) => {
  const texts = fc.oneof(
    fc.string(),
    fc.stringMatching(/^\d{1,3}\.\d{1,3}.\d{1,3}.\d{1,3}-\d{1,3}(&[a-f\d:]{2,20}-\d{1,3})?$/),
  );
  fc.assert(
    fc.property(texts, (text) => {
      try {
        const { subnet, subnet6 } = parseLeaseKey(text);
        return [subnet, subnet6].every(
          (cidr) => cidr === undefined || cidrEqual(parseCidr(formatCidr(cidr)), cidr),
        );
      } catch (error) {
        return error instanceof KerseyError;
      }
    }),
    { numRuns: 2000 },
  );
  t.pass('holds');
  t.end();
});

void t.test('property: any JSON as a value either is a lease or is refused', (t) => {
  const values = fc.oneof(
    fc.jsonValue(),
    fc.record(
      {
        PublicIP: fc.oneof(fc.ipV4(), fc.jsonValue()),
        PublicIPv6: fc.oneof(fc.ipV6(), fc.jsonValue()),
        BackendType: fc.oneof(fc.string(), fc.jsonValue()),
        BackendData: fc.jsonValue(),
      },
      { requiredKeys: [] },
    ),
  );
  fc.assert(
    fc.property(values, (value) => {
      try {
        const attrs = decodeAttrs(value as JsonValue);
        t.same(decodeAttrs(JSON.parse(formatLeaseValue(attrs)) as JsonValue), attrs);
      } catch (error) {
        if (!(error instanceof KerseyError)) throw error;
      }
    }),
  );
  t.end();
});
