import fc from 'fast-check';
import t from 'tap';
import type { JsonObject } from '../../../src/config/json.ts';
import { parseNetworkConfig } from '../../../src/config/network.ts';
import type { SubnetPool } from '../../../src/config/pool.ts';
import { cidrAround, cidrEqual, cidrOverlaps, formatCidr, parseCidr } from '../../../src/net/cidr.ts';
import type { Cidr } from '../../../src/net/cidr.ts';
import { allocate, firstFree, inPool } from '../../../src/store/allocate.ts';
import type { Allocation } from '../../../src/store/allocate.ts';
import { decodeTable } from '../../../src/store/lease.ts';
import type { LeaseEntry } from '../../../src/store/lease.ts';

const Backend = { Type: 'vxlan' } as const;
const v4 = parseNetworkConfig({ Network: '10.5.0.0/16', Backend });
const v6 = parseNetworkConfig({ EnableIPv4: false, EnableIPv6: true, IPv6Network: 'fd00:5::/48', Backend });
const dual = parseNetworkConfig({
  Network: '10.5.0.0/16',
  EnableIPv6: true,
  IPv6Network: 'fd00:5::/48',
  Backend,
});
const tiny = parseNetworkConfig({ Network: '10.5.0.0/28', Backend });

const first = (): number => 0;
const last = (): number => 0.999999;

function table(leases: Record<string, string | JsonObject>): readonly LeaseEntry[] {
  const raw = Object.entries(leases).map(([key, value]): [string, JsonObject] => [
    key,
    typeof value === 'string' ? { PublicIP: value } : value,
  ]);
  return decodeTable(raw).entries;
}

const text = ({ subnet, subnet6, own }: Allocation): string =>
  `${subnet ? formatCidr(subnet) : '-'} ${subnet6 ? formatCidr(subnet6) : '-'} own ${own?.key ?? '-'}`;

void t.test('a new host gets one of the first 100 free subnets', (t) => {
  t.equal(text(allocate(v4, [], { publicIP: '192.168.0.1' }, first)), '10.5.1.0/24 - own -');
  t.equal(text(allocate(v4, [], { publicIP: '192.168.0.1' }, last)), '10.5.100.0/24 - own -');
  t.equal(text(allocate(dual, [], { publicIP: '192.168.0.1' }, first)), '10.5.1.0/24 fd00:5:0:1::/64 own -');
  t.equal(text(allocate(v6, [], { publicIPv6: 'fd00::1' }, last)), '- fd00:5:0:64::/64 own -');
  const drawn = new Set(
    Array.from({ length: 300 }, () => text(allocate(v4, [], { publicIP: '192.168.0.1' }))),
  );
  t.ok(drawn.size > 30, 'the draw is random by default');
  t.end();
});

void t.test('free is what overlaps nothing, of whatever length', (t) => {
  const taken = table({
    '10.5.0.0-22': '1.1.1.1',
    '10.5.4.128-25': '1.1.1.2',
    '10.5.5.0-24': { PublicIP: 'unreadable' },
  });
  t.equal(text(allocate(v4, taken, { publicIP: '192.168.0.1' }, first)), '10.5.6.0/24 - own -');
  t.end();
});

void t.test('the public address keeps its subnet', (t) => {
  const taken = table({ '10.5.7.0-24': '192.168.0.1', '10.5.8.0-24': '192.168.0.2' });
  const previous = parseCidr('10.5.9.0/24');
  t.equal(
    text(allocate(v4, taken, { publicIP: '192.168.0.1', previous }, first)),
    '10.5.7.0/24 - own 10.5.7.0-24',
    'before the previous one',
  );
  t.equal(
    text(allocate(v4, taken, { publicIP: '192.168.0.1', publicIPv6: 'fd00::1' }, first)),
    '10.5.7.0/24 - own 10.5.7.0-24',
  );
  const by6 = table({ '0.0.0.0-0&fd00:5:0:7::-64': { PublicIPv6: 'fd00::1' } });
  t.equal(
    text(allocate(v6, by6, { publicIPv6: 'fd00::1' }, first)),
    '- fd00:5:0:7::/64 own 0.0.0.0-0&fd00:5:0:7::-64',
  );
  t.end();
});

void t.test('a held subnet that the configuration no longer allows is given up', (t) => {
  for (const key of ['10.6.7.0-24', '10.5.7.0-25', '10.5.0.0-24']) {
    t.equal(
      text(allocate(v4, table({ [key]: '192.168.0.1' }), { publicIP: '192.168.0.1' }, first)),
      `10.5.1.0/24 - own ${key}`,
    );
  }
  const two = table({ '10.6.7.0-24': '192.168.0.1', '10.5.7.0-24': '192.168.0.1' });
  t.equal(
    text(allocate(v4, two, { publicIP: '192.168.0.1' }, first)),
    '10.5.7.0/24 - own 10.5.7.0-24',
    'of several, one that fits',
  );
  t.end();
});

void t.test('a host that gains a family keeps what it has of the other', (t) => {
  const taken = table({ '10.5.7.0-24': '192.168.0.1' });
  t.equal(
    text(allocate(dual, taken, { publicIP: '192.168.0.1', publicIPv6: 'fd00::1' }, first)),
    '10.5.7.0/24 fd00:5:0:1::/64 own 10.5.7.0-24',
  );
  const both = table({ '10.5.7.0-24&fd00:5:0:7::-64': { PublicIP: '192.168.0.1', PublicIPv6: 'fd00::1' } });
  t.equal(
    text(allocate(v4, both, { publicIP: '192.168.0.1' }, first)),
    '10.5.7.0/24 - own 10.5.7.0-24&fd00:5:0:7::-64',
  );
  t.end();
});

void t.test('the previous subnet is taken up when it is free and allowed', (t) => {
  const request = (previous: string): object => ({ publicIP: '192.168.0.1', previous: parseCidr(previous) });
  const taken = table({ '10.5.8.128-25': '192.168.0.2' });
  t.equal(text(allocate(v4, taken, request('10.5.7.0/24'), first)), '10.5.7.0/24 - own -');
  t.equal(
    text(allocate(v4, taken, request('10.5.8.0/24'), first)),
    '10.5.1.0/24 - own -',
    'overlaps another',
  );
  t.equal(text(allocate(v4, taken, request('10.6.7.0/24'), first)), '10.5.1.0/24 - own -', 'outside');
  t.equal(text(allocate(v4, taken, request('10.5.7.0/25'), first)), '10.5.1.0/24 - own -', 'another length');
  t.equal(text(allocate(v4, taken, request('fd00::/64'), first)), '10.5.1.0/24 - own -', 'another family');
  const previous6 = parseCidr('fd00:5:0:9::/64');
  t.equal(
    text(allocate(dual, [], { publicIP: '192.168.0.1', previous6 }, first)),
    '10.5.1.0/24 fd00:5:0:9::/64 own -',
  );
  t.end();
});

void t.test('when nothing is free, the error names the range', (t) => {
  const taken = table({ '10.5.0.4-30': '1.1.1.1', '10.5.0.8-29': '1.1.1.2' });
  t.throws(() => allocate(tiny, taken, { publicIP: '192.168.0.1' }), {
    code: 'SUBNETS_EXHAUSTED',
    message: 'every /30 subnet of 10.5.0.0/28 from 10.5.0.4 to 10.5.0.12 is taken (subnets: 3, leases: 2)',
    remedy: 'remove the leases of hosts that are gone, or widen the network',
  });
  t.equal(
    text(allocate(tiny, taken, { publicIP: '1.1.1.1' })),
    '10.5.0.4/30 - own 10.5.0.4-30',
    'who has one keeps it',
  );
  t.end();
});

void t.test('a block that covers a great many subnets is passed in one step', (t) => {
  const config = parseNetworkConfig({
    EnableIPv4: false,
    EnableIPv6: true,
    IPv6Network: 'fd00::/16',
    IPv6SubnetLen: 120,
    Backend,
  });
  const taken = table({ '0.0.0.0-0&fd00::-17': { PublicIPv6: 'fe00::1' } });
  t.equal(text(allocate(config, taken, { publicIPv6: 'fd00::1' }, first)), '- fd00:8000::/120 own -');
  t.end();
});

void t.test('property: the free ones are those of a walk through all of them', (t) => {
  const pools = fc
    .tuple(fc.integer({ min: 22, max: 26 }), fc.integer({ min: 0, max: 4 }), fc.nat(), fc.nat())
    .map(([prefix, more, a, b]): SubnetPool => {
      const network = cidrAround(4, 0x0a050400n, prefix);
      const length = Math.min(prefix + 2 + more, 30);
      const count = 1 << (length - prefix);
      const [low, high] = [a % count, b % count].sort((x, y) => x - y);
      const size = 1n << BigInt(32 - length);
      return {
        network,
        length,
        min: network.base + BigInt(low ?? 0) * size,
        max: network.base + BigInt(high ?? 0) * size,
      };
    });
  const blocks = fc.array(
    fc
      .tuple(fc.nat(2047), fc.integer({ min: 21, max: 32 }))
      .map(([host, length]) => cidrAround(4, 0x0a050200n + BigInt(host), length)),
    { maxLength: 20 },
  );
  fc.assert(
    fc.property(pools, blocks, fc.integer({ min: 1, max: 100 }), (pool, taken, limit) => {
      const model: Cidr[] = [];
      for (let base = pool.min; base <= pool.max; base += 1n << BigInt(32 - pool.length)) {
        const subnet = cidrAround(4, base, pool.length);
        if (!taken.some((block) => cidrOverlaps(block, subnet)) && model.length < limit) model.push(subnet);
      }
      const free = firstFree(pool, taken, limit);
      return (
        free.length === model.length &&
        free.every((subnet, i) => cidrEqual(subnet, model[i]) && inPool(pool, subnet))
      );
    }),
    { numRuns: 1000 },
  );
  t.pass('holds');
  t.end();
});

void t.test(
  'property: hosts that come one after another never share addresses, and come back to the same',
  (t) => {
    fc.assert(
      fc.property(fc.array(fc.nat(40), { minLength: 1, maxLength: 40 }), (hosts) => {
        const leases = new Map<string, JsonObject>();
        const held = new Map<number, string>();
        for (const host of hosts) {
          const publicIP = `192.168.0.${host + 1}`;
          const { subnet, own } = allocate(v4, decodeTable(leases).entries, { publicIP });
          if (subnet === undefined) return false;
          const key = formatCidr(subnet).replace('/', '-');
          if (held.has(host) ? held.get(host) !== key || own?.key !== key : leases.has(key)) return false;
          held.set(host, key);
          leases.set(key, { PublicIP: publicIP });
        }
        return leases.size === new Set(hosts).size;
      }),
    );
    t.pass('holds');
    t.end();
  },
);
