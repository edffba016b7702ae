import fc from 'fast-check';
import t from 'tap';
import { cidrAround, cidrOverlaps, parseCidr } from '../../../../src/net/cidr.ts';
import { overlapGuard } from '../../../../src/store/etcd/guard.ts';
import { formatLeaseKey } from '../../../../src/store/lease.ts';

const names = (guard: ReturnType<typeof overlapGuard>): readonly string[] =>
  guard.map((compare) => ('prefix' in compare ? compare.prefix : ''));

void t.test('every key of an overlapping subnet is guarded, whatever the lengths', async (t) => {
  const anySubnet = fc
    .record({ value: fc.bigInt(0x0a050000n, 0x0a0507ffn), length: fc.integer({ min: 1, max: 31 }) })
    .map(({ value, length }) => cidrAround(4, value, length));
  const ipv6 = fc.constantFrom(undefined, parseCidr('fd00:5::/64'));
  fc.assert(
    fc.property(anySubnet, anySubnet, ipv6, (subnet, other, subnet6) => {
      const guarded = names(overlapGuard({ subnet, subnet6: undefined }, 'p/', 7n));
      const key = `p/${formatLeaseKey({ subnet: other, subnet6 })}`;
      if (cidrOverlaps(subnet, other))
        t.ok(
          guarded.some((name) => key.startsWith(name)),
          key,
        );
    }),
    { numRuns: 2000 },
  );
});

void t.test('hardly anything else is, and a transaction of etcd has room for it', async (t) => {
  for (let length = 0; length < 32; length++) {
    const guard = overlapGuard({ subnet: cidrAround(4, 0x0a050180n, length), subnet6: undefined }, 'p/', 7n);
    t.ok(guard.length < 120, `${guard.length} comparisons for /${length}`);
    t.ok(guard.every((compare) => 'prefix' in compare && compare.unchangedSince === 7n));
  }
  for (const [subnet, ...others] of [
    ['10.5.1.0/24', '10.5.0.0-24', '10.5.10.0-24', '10.5.11.0-24&fd00::-64', '10.5.2.0-23', '110.5.1.0-24'],
    ['10.5.4.0/22', '10.5.0.0-22', '10.5.8.0-22', '10.5.40.0-24'],
    ['10.5.1.64/26', '10.5.1.0-26', '10.5.1.128-26', '10.5.2.0-26'],
  ] as const) {
    const guarded = names(overlapGuard({ subnet: parseCidr(subnet), subnet6: undefined }, 'p/', 7n));
    for (const other of others) {
      t.notOk(
        guarded.some((name) => `p/${other}`.startsWith(name)),
        `${other} beside ${subnet}`,
      );
    }
  }
});

void t.test('IPv6 is guarded by the whole table', async (t) => {
  const subnet6 = parseCidr('fd00:5::/64');
  for (const subnet of [parseCidr('10.5.1.0/24'), undefined]) {
    t.same(overlapGuard({ subnet, subnet6 }, 'p/', 7n), [{ prefix: 'p/', unchangedSince: 7n }]);
  }
});
