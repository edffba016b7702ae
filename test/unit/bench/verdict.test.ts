// Numbers against targets.

import t from 'tap';
import { judge, summary, verdictGrid } from '../../../bench/lib/verdict.ts';
import type { RoundResult } from '../../../bench/net/rounds.ts';
import { targets, type Target } from '../../../bench/targets.ts';

function results(kersey: readonly number[]): readonly RoundResult[] {
  const result = (contender: string, round: number, gbps: number): RoundResult => ({
    ...{ contender, profile: 'as is', round, drops: {}, losses: {} },
    sample: { 'tcp1.gbps': gbps },
  });
  return kersey.flatMap((gbps, round) => [result('kernel vxlan', round, 10), result('Kersey', round, gbps)]);
}

const speed: Target = {
  title: 'TCP',
  measure: {
    ...{ kind: 'ratio', metric: 'tcp1.gbps', profile: 'as is', contender: 'Kersey' },
    to: 'kernel vxlan',
  },
  ...{ unit: 'x', digits: 2, must: { atLeast: 0.8 }, aim: { atLeast: 1 } },
};
const time: Target = {
  title: 'replace',
  measure: { kind: 'number', metric: 'replace.ms' },
  ...{ unit: 'ms', digits: 1, must: { atMost: 50 } },
};

t.test('the median decides, and the ends are shown', async (t) => {
  const [judgement] = judge([speed], results([3, 9, 20]), {});
  t.match(judgement, { verdict: 'must met', measured: { median: 0.9, min: 0.3, max: 2 } });
  const grid = verdictGrid(judge([speed], results([3, 9, 20]), {}), (text) => `*${text}*`);
  t.same(grid.rows, [['TCP', '0.90 x (0.30-2.00)', '>= 0.8 x', '>= 1 x', 'must met']]);
});

t.test('must, aim, failure, and nothing measured', async (t) => {
  const verdict = (gbps: number): string | undefined => judge([speed], results([gbps]), {})[0]?.verdict;
  t.equal(verdict(10), 'aim met');
  t.equal(verdict(9.96), 'aim met', 'judged as it is shown');
  t.equal(verdict(8), 'must met');
  t.equal(verdict(7.9), 'FAILS');
  t.equal(judge([speed], [], {})[0]?.verdict, 'not measured');
});

t.test('a target may be a most, and have no aim', async (t) => {
  const verdict = (ms: number): string | undefined => judge([time], [], { 'replace.ms': [ms] })[0]?.verdict;
  t.equal(verdict(50), 'must met');
  t.equal(verdict(50.1), 'FAILS');
});

t.test('what fails stands out, in its row and in the summary', async (t) => {
  const judgements = judge([speed, time], results([5]), { 'replace.ms': [3] });
  const { rows } = verdictGrid(judgements, (text) => `*${text}*`);
  t.same(rows[0], ['*TCP*', '0.50 x', '>= 0.8 x', '>= 1 x', '*FAILS*']);
  t.same(rows[1]?.at(-1), 'must met');
  t.equal(summary(judgements), 'Targets: 1 of 2 FAIL (TCP); 1 must met.');
  t.equal(summary(judgements.slice(1)), 'Targets: none fails; 1 must met.');
});

t.test('no aim is easier than its must', async (t) => {
  for (const { title, must, aim } of targets) {
    if (aim === undefined) continue;
    if ('atLeast' in must) t.ok('atLeast' in aim && aim.atLeast >= must.atLeast, title);
    else t.ok('atMost' in aim && aim.atMost <= must.atMost, title);
  }
});
