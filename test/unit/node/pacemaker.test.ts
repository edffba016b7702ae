import fc from 'fast-check';
import t from 'tap';

import { fullPeriod, Pacemaker, retryPeriod } from '../../../src/node/pacemaker.ts';
import { FakeClock } from '../../lib/fake-clock.ts';

/** A pacemaker of which every comparison takes `cost` and ends as `settled` says, and when it compared. */
function paced(of: { cost?: number; settled?: boolean } = {}): {
  readonly clock: FakeClock;
  readonly pace: Pacemaker;
  readonly beats: number[];
  readonly of: { cost: number; settled: boolean; during?: () => void };
} {
  const clock = new FakeClock();
  const beats: number[] = [];
  const how: { cost: number; settled: boolean; during?: () => void } = { cost: 0, settled: true, ...of };
  const pace = new Pacemaker(() => {
    beats.push(clock.now());
    clock.pass(how.cost);
    how.during?.();
    return how.settled;
  }, clock);
  pace.beat();
  beats.length = 0;
  pace.start();
  return { clock, pace, beats, of: how };
}

t.test('while nothing happens one timer runs, and nothing is compared before the full period', async (t) => {
  const { clock, beats } = paced();
  t.equal(clock.waiting, 1);
  clock.advance(fullPeriod - 1);
  t.same(beats, []);
  clock.advance(1);
  t.same(beats, [fullPeriod]);
  clock.advance(2 * fullPeriod);
  t.same(beats, [fullPeriod, 2 * fullPeriod, 3 * fullPeriod]);
  t.equal(clock.waiting, 1);
});

t.test('what happens is compared at once, once, and not from within', async (t) => {
  const { clock, pace, beats } = paced();
  clock.advance(5000);
  pace.wake();
  pace.wake();
  t.same(beats, []);
  clock.advance(0);
  t.same(beats, [5000]);
  clock.advance(fullPeriod - 1);
  t.same(beats, [5000], 'and then it is quiet again');
});

t.test('what happens during a comparison leads to another one', async (t) => {
  const { clock, pace, beats, of } = paced();
  of.during = () => {
    delete of.during;
    pace.wake();
  };
  pace.wake();
  clock.advance(10);
  t.same(beats, [0, 0]);
});

t.test('what is left is tried again, sooner', async (t) => {
  const { clock, pace, beats, of } = paced();
  of.settled = false;
  pace.wake();
  clock.advance(2 * retryPeriod);
  t.same(beats, [0, retryPeriod, 2 * retryPeriod]);
  of.settled = true;
  clock.advance(retryPeriod);
  clock.advance(fullPeriod - 1);
  t.equal(beats.length, 4);
});

t.test('a comparison that fails is tried again, too', async (t) => {
  const { clock, pace, beats, of } = paced();
  of.during = () => {
    delete of.during;
    throw new Error('broken');
  };
  pace.wake();
  t.throws(() => {
    clock.advance(0);
  }, /broken/);
  clock.advance(retryPeriod);
  t.same(beats, [0, retryPeriod]);
});

t.test('a long comparison is followed by a rest, but not by a long one', async (t) => {
  const { clock, pace, beats, of } = paced();
  of.cost = 30;
  pace.wake();
  clock.advance(0);
  pace.wake();
  clock.advance(299);
  t.equal(beats.length, 1, 'the tenth of the time is used up');
  clock.advance(1);
  t.equal(beats.length, 2);
  of.cost = 10_000;
  pace.wake();
  clock.advance(300);
  const ended = clock.now();
  pace.wake();
  clock.advance(1000);
  t.equal(beats[3], ended + 1000);
});

t.test('events without end take no more than their share', async (t) => {
  const { clock, pace, beats, of } = paced();
  of.cost = 7;
  for (let i = 0; i < 10_000; i++) {
    pace.wake();
    clock.advance(1);
  }
  const busy = (beats.length * of.cost) / clock.now();
  t.ok(busy > 0.08 && busy < 0.1, `${busy}`);
});

t.test('stopped, it compares only when told to', async (t) => {
  const { clock, pace, beats } = paced();
  pace.wake();
  pace.stop();
  t.equal(clock.waiting, 0);
  pace.wake();
  clock.advance(10 * fullPeriod);
  t.same(beats, []);
  pace.beat();
  t.equal(beats.length, 1);
  t.equal(clock.waiting, 0);
});

t.test('whatever happens when: after every event there is a comparison within its time', async () => {
  const step = fc.record({ wait: fc.integer({ min: 0, max: 4000 }), cost: fc.integer({ min: 0, max: 500 }) });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 50 }), (steps) => {
      const { clock, pace, beats, of } = paced();
      for (const { wait, cost } of steps) {
        clock.advance(wait);
        of.cost = cost;
        const woken = clock.now();
        pace.wake();
        const before = beats.length;
        clock.advance(1000);
        const beat = beats[before];
        if (beat === undefined || beat < woken || beat - woken > 1000) return false;
        if (clock.waiting !== 1) return false;
      }
      return true;
    }),
  );
});
