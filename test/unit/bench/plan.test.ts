// The plan measures what the targets are about, in bearable time.

import t from 'tap';
import { argumentsOf } from '../../../bench/lib/arguments.ts';
import {
  contendersOf,
  estimateSeconds,
  fullPlan,
  quickPlan,
  restricted,
  targetsPlan,
  withoutTest,
} from '../../../bench/plan.ts';
import { targets } from '../../../bench/targets.ts';

t.test('a full run stays below 26 minutes, one for the targets below 14, a quick one below 3', async (t) => {
  const micro = [40, 10] as const;
  t.ok(estimateSeconds(fullPlan, true) + micro[0] < 26 * 60);
  t.ok(estimateSeconds(targetsPlan, false) + micro[1] < 14 * 60);
  t.ok(estimateSeconds(quickPlan, false) + micro[1] < 3 * 60);
});

t.test('both sides of every ratio are measured in the same rounds, also quickly', async (t) => {
  for (const plan of [fullPlan, targetsPlan, quickPlan]) {
    for (const { title, measure } of targets) {
      if (measure.kind !== 'ratio') continue;
      const leg = plan.legs.find(({ profile }) => profile === measure.profile);
      const [test] = measure.metric.split('.');
      for (const name of [measure.contender, measure.to]) {
        const entry = leg?.entries.find(({ contender }) => contender.name === name);
        t.ok(entry?.tests.some((one) => one === test) === true, `${title}: ${name}`);
      }
    }
  }
});

t.test('a plan can be cut down', async (t) => {
  const only = restricted(fullPlan, (name) => name === 'Kersey');
  t.same(
    contendersOf(only).map(({ name }) => name),
    ['Kersey'],
  );
  t.ok(
    withoutTest(fullPlan, 'roundTrip').legs.every(({ entries }) =>
      entries.every(({ tests }) => !tests.includes('roundTrip')),
    ),
  );
});

t.test('the network benches bring the scale benches along, unless they are cut down', async (t) => {
  const parts = (...argv: readonly string[]): readonly string[] => argumentsOf(argv, ['nebula']).parts;
  t.same(parts(), ['micro', 'net', 'scale']);
  t.same(parts('net'), ['net', 'scale']);
  t.same(parts('micro'), ['micro']);
  t.same(parts('scale'), ['scale']);
  t.same(parts('net', '--only', 'nebula'), ['net']);
  t.equal(argumentsOf([], []).profile, true, 'a full run has a profile pass');
  t.equal(argumentsOf(['--quick'], []).profile, false);
  t.equal(argumentsOf(['--quick', '--profile'], []).profile, true);
  t.equal(argumentsOf(['--targets'], []).profile, false);
  t.equal(argumentsOf(['--targets'], []).length, 'targets');
  t.throws(() => argumentsOf(['--quick', '--targets'], []), { code: 'USAGE' });
  t.throws(() => argumentsOf(['--only', 'x'], ['nebula']), { code: 'USAGE' });
  t.throws(() => argumentsOf(['nothing'], []), { code: 'USAGE' });
});
