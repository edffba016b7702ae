// Repeating what was measured while somebody else had the CPU.

import t from 'tap';
import { leastStolen, withSteal, type Attempt } from '../../../bench/lib/steal.ts';

/** Attempts whose steal is given; the value is the attempt's number. */
function scripted(...steal: readonly number[]): {
  test: () => Promise<number>;
  attempt: (test: () => Promise<number>) => Promise<Attempt<number>>;
} {
  let done = 0;
  return {
    test: async () => ++done,
    attempt: async (test) => ({ value: await test(), stealPercent: steal[done - 1] ?? NaN }),
  };
}

const { signal } = new AbortController();

t.test('a quiet attempt is enough', async (t) => {
  const { test, attempt } = scripted(3, 0);
  const result = await leastStolen(test, { again: () => true, signal, pauseMs: 0, attempt });
  t.same(result, { value: 1, stealPercent: 3, attempts: 1 });
});

t.test('noisy ones are repeated, and the least stolen counts', async (t) => {
  const { test, attempt } = scripted(20, 5, 9, 0);
  const again = (attempts: number): boolean => attempts < 3;
  const result = await leastStolen(test, { again, signal, pauseMs: 0, attempt });
  t.same(result, { value: 2, stealPercent: 5, attempts: 3 });
});

t.test('an abort ends the repeating', async (t) => {
  const { test, attempt } = scripted(20, 20);
  const aborted = AbortSignal.abort(new Error('stop'));
  await t.rejects(leastStolen(test, { again: () => true, signal: aborted, attempt }));
});

t.test('steal is read from the machine', async (t) => {
  const { value, stealPercent } = await withSteal(async () => 'done');
  t.equal(value, 'done');
  t.ok(stealPercent >= 0 && stealPercent <= 100);
});
