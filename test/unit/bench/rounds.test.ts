// The order of turns, and what happens to a run when one of them fails.

import t from 'tap';
import type { Contender } from '../../../bench/net/contender.ts';
import { runRounds, unexplainedFaults, type Rounds } from '../../../bench/net/rounds.ts';
import { quickPlan, type Entry, type Plan } from '../../../bench/plan.ts';
import { KerseyError } from '../../../src/errors.ts';

/** A contender that never opens, and notes that it was asked to. */
function broken(name: string, vouched: boolean, opened: string[]): Contender {
  const open = (): Promise<never> => {
    opened.push(name);
    return Promise.reject(new KerseyError('INTERNAL', `no ${name} here`));
  };
  return { name, vouched, unavailable: async () => undefined, open };
}

function run(entries: readonly Entry[], rounds: number, signal?: AbortSignal): Promise<Rounds> {
  const plan: Plan = { ...quickPlan, legs: [{ profile: 'as is', rounds, entries }] };
  const ignore = (): void => undefined;
  const options = { onTurn: ignore, onResult: ignore, signal: signal ?? new AbortController().signal };
  return runRounds({ plan, ...options });
}

t.test('every round begins with the next contender; some take part in the first rounds only', async (t) => {
  const opened: string[] = [];
  const entry = (name: string, more: Partial<Entry> = {}): Entry => ({
    ...{ contender: broken(name, true, opened), tests: ['tcp1'] },
    ...more,
  });
  await run([entry('a'), entry('b', { rounds: 1 }), entry('c')], 3);
  t.same(
    opened.filter((name, index) => name !== opened[index - 1]),
    ['a', 'b', 'c', 'a', 'c', 'a'],
  );
});

t.test('when one of ours fails twice the run has a fault and goes on', async (t) => {
  const opened: string[] = [];
  const { faults, failed } = await run([{ contender: broken('Kersey', true, opened), tests: ['tcp1'] }], 2);
  t.same(
    faults,
    [1, 2].map((round) => `Kersey, veth as is, round ${round}: no Kersey here`),
  );
  t.same(failed, {});
});

t.test('when another tunnel fails twice it is left out from then on', async (t) => {
  const opened: string[] = [];
  const { faults, failed } = await run([{ contender: broken('nebula', false, opened), tests: ['tcp1'] }], 2);
  t.same(
    { faults, failed, opened },
    { faults: [], failed: { nebula: 'failed: no nebula here' }, opened: ['nebula', 'nebula'] },
  );
});

t.test('an interrupted run ends', async (t) => {
  const opened: string[] = [];
  const entries: readonly Entry[] = [{ contender: broken('Kersey', true, opened), tests: ['tcp1'] }];
  await t.rejects(run(entries, 5, AbortSignal.abort(new Error('interrupted'))), /interrupted/);
  t.equal(opened.length, 1);
});

t.test('only what no receiver can have left unread is a fault', async (t) => {
  const losses = (unexplained: number): Parameters<typeof unexplainedFaults>[1] => ({
    udp64: { sent: 9000, delivered: 8000, places: {}, atReceiver: 0, unexplained },
  });
  t.same(unexplainedFaults('here', losses(300)), []);
  t.same(unexplainedFaults('here', losses(301)), ['here: udp64: 301 of 9000 packets lost unexplained']);
});
