// No subnet ever has two owners, whatever happens to those who want one. KERSEY_STRESS=1 runs it at full size:
// 10,000 allocations by 50 processes, and 200 partitions.

import t from 'tap';
import { contend } from './fixtures/contention.ts';
import { partition } from './fixtures/partitions.ts';

const full = process.env['KERSEY_STRESS'] !== undefined;
if (full) t.setTimeout(3_600_000);

t.test('processes that contend, are killed and cut off', async (t) => {
  const plan = full
    ? { processes: 50, allocations: 10_000, members: 3, ttl: 10, killing: 0.05, cutting: 0.2 }
    : { processes: 4, allocations: 120, members: 1, ttl: 5, killing: 0.2, cutting: 0.4 };
  const { errors, ...result } = await contend(plan);
  t.comment(result);
  t.comment([...errors]);
  t.same(result.overlaps, []);
  t.same(result.overwrites, []);
  t.ok(result.made >= plan.allocations, `${result.made} keys were made`);
});

t.test('cut off for longer than the lease, while the subnet goes to another', async (t) => {
  const cycles = full ? 200 : 4;
  const result = await partition(cycles, 4);
  t.comment(result);
  t.same(result.overlaps, []);
  t.same(result.overwrites, []);
  t.ok(result.made >= 3 * cycles, `${result.made} keys were made`);
});
