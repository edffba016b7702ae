import fc from 'fast-check';
import t from 'tap';
import { cidrAround, cidrOverlaps, formatCidr, parseCidr } from '../../../src/net/cidr.ts';
import { formatLeaseKey } from '../../../src/store/lease.ts';
import type { LeaseEntry } from '../../../src/store/lease.ts';
import { refuseOverlaps, withoutOverlaps } from '../../../src/store/overlap.ts';

function entry(v4?: string, v6?: string): LeaseEntry {
  const subnets = {
    subnet: v4 === undefined ? undefined : parseCidr(v4),
    subnet6: v6 === undefined ? undefined : parseCidr(v6),
  };
  return { key: formatLeaseKey(subnets), ...subnets, attrs: undefined };
}

const keys = (entries: readonly LeaseEntry[]): string[] => entries.map((each) => each.key);

void t.test('a table without overlaps passes as it is', (t) => {
  const table = [
    entry('10.5.2.0/24'),
    entry('10.5.1.0/24', 'fd00:1::/64'),
    entry(undefined, 'fd00:2::/64'),
    entry('10.5.128.0/17'),
  ];
  refuseOverlaps(table, 'x');
  t.same(withoutOverlaps(table), { entries: table, warnings: [] });
  t.end();
});

void t.test('an overlap is refused, naming both keys in the order of the file', (t) => {
  const cases: readonly (readonly [LeaseEntry[], string])[] = [
    [
      [entry('10.5.1.0/24'), entry('10.5.0.0/22')],
      'f: leases["10.5.1.0-24"] and leases["10.5.0.0-22"] overlap (10.5.1.0/24, 10.5.0.0/22)',
    ],
    [
      [entry('10.5.0.0/22'), entry('10.5.1.0/24')],
      'f: leases["10.5.0.0-22"] and leases["10.5.1.0-24"] overlap (10.5.0.0/22, 10.5.1.0/24)',
    ],
    // One IPv4 subnet, once alone and once in a key of both families.
    [
      [entry('10.5.1.0/24'), entry('10.5.1.0/24', 'fd00:1::/64')],
      'f: leases["10.5.1.0-24"] and leases["10.5.1.0-24&fd00:1::-64"] overlap (10.5.1.0/24, 10.5.1.0/24)',
    ],
    [
      [entry('10.5.1.0/24', 'fd00:1::/64'), entry('10.5.2.0/24', 'fd00:1::/60')],
      'f: leases["10.5.1.0-24&fd00:1::-64"] and leases["10.5.2.0-24&fd00:1::-60"] overlap (fd00:1::/64, fd00:1::/60)',
    ],
  ];
  for (const [table, message] of cases) {
    t.throws(
      () => {
        refuseOverlaps(table, 'f');
      },
      { code: 'SUBNET_OVERLAP', message, remedy: 'remove one of them' },
    );
  }
  t.end();
});

void t.test('while running, the first in the file stays', (t) => {
  const table = [entry('10.5.1.0/24'), entry('10.5.2.0/24'), entry('10.5.0.0/22'), entry('10.5.3.0/24')];
  t.same(withoutOverlaps(table).warnings, [
    'leases["10.5.1.0-24"] and leases["10.5.0.0-22"] overlap (10.5.1.0/24, 10.5.0.0/22); the second one is not used: remove one of them',
  ]);
  t.same(keys(withoutOverlaps(table).entries), ['10.5.1.0-24', '10.5.2.0-24', '10.5.3.0-24']);
  t.end();
});

void t.test('the own lease always stays', (t) => {
  const table = [entry('10.5.0.0/22'), entry('10.5.1.0/24'), entry('10.5.2.0/24')];
  const result = withoutOverlaps(table, ({ key }) => key === '10.5.2.0-24');
  t.same(keys(result.entries), ['10.5.1.0-24', '10.5.2.0-24']);
  t.end();
});

void t.test('property: the same as comparing each with each', (t) => {
  const block = fc
    .tuple(fc.nat(63), fc.integer({ min: 26, max: 31 }))
    .map(([host, length]) => formatCidr(cidrAround(4, 0x0a050000n + BigInt(host), length)));
  const block6 = fc
    .tuple(fc.nat(63), fc.integer({ min: 122, max: 127 }))
    .map(([host, length]) => formatCidr(cidrAround(6, (0xfdn << 120n) + BigInt(host), length)));
  const entries = fc.array(
    fc
      .oneof(fc.tuple(block), fc.tuple(block, block6), fc.tuple(fc.constant(undefined), block6))
      .map(([v4, v6]) => entry(v4, v6)),
    { maxLength: 12 },
  );
  const clash = (a: LeaseEntry, b: LeaseEntry): boolean =>
    (a.subnet !== undefined && b.subnet !== undefined && cidrOverlaps(a.subnet, b.subnet)) ||
    (a.subnet6 !== undefined && b.subnet6 !== undefined && cidrOverlaps(a.subnet6, b.subnet6));
  fc.assert(
    fc.property(entries, (table) => {
      const model: LeaseEntry[] = [];
      for (const each of table) if (!model.some((kept) => clash(kept, each))) model.push(each);
      const { entries: kept, warnings } = withoutOverlaps(table);
      t.same(keys(kept), keys(model));
      t.equal(warnings.length, table.length - model.length);
      const refused = (): boolean => {
        try {
          refuseOverlaps(table, 'f');
          return false;
        } catch {
          return true;
        }
      };
      t.equal(refused(), model.length < table.length);
    }),
    { numRuns: 300 },
  );
  t.end();
});
