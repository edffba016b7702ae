// How rounds become rows: medians, spreads, and ratios within a round.

import t from 'tap';
import { spreadOf } from '../../../bench/lib/statistics.ts';
import { cellOf, metrics, ratioOf, ratiosOf, rowsOf } from '../../../bench/net/metrics.ts';
import type { RoundResult } from '../../../bench/net/rounds.ts';

const [tcp1] = metrics;
if (tcp1 === undefined) throw new Error('no metrics');

function result(
  contender: string,
  round: number,
  gbps: number,
  drops: Record<string, number> = {},
): RoundResult {
  return { contender, profile: 'as is', round, sample: { 'tcp1.gbps': gbps }, drops, losses: {} };
}

t.test('a spread is the median with its ends', async (t) => {
  t.match(spreadOf([3, 1, 2]), { median: 2, min: 1, max: 3 });
  t.match(spreadOf([4, 1, 2, 3]), { median: 2.5, min: 1, max: 4 });
  t.match(spreadOf([7]), { median: 7, min: 7, max: 7 });
});

t.test('a ratio is taken within a round, and the median of the ratios counts', async (t) => {
  // The machine got slower from round to round; the ratios hardly changed.
  const rows = rowsOf(
    [
      ...[result('kernel vxlan', 0, 16), result('kernel vxlan', 1, 8), result('kernel vxlan', 2, 4)],
      ...[result('Kersey', 0, 16), result('Kersey', 1, 9), result('Kersey', 2, 4)],
    ],
    'as is',
  );
  t.same(
    rows.map((row) => [row.contender, ratioOf(row), cellOf(row, tcp1)]),
    [
      ['kernel vxlan', '1.00', '8.00 (4.00-16.00)'],
      ['Kersey', '1.00', '9.00 (4.00-16.00)'],
    ],
  );
});

t.test('without kernel vxlan there is no ratio, without a test no cell', async (t) => {
  const [row] = rowsOf([result('bare veth', 0, 20)], 'as is');
  if (row === undefined) throw new Error('no row');
  t.equal(ratioOf(row), '');
  t.equal(cellOf(row, tcp1), '20.00', 'one round has no spread');
  t.equal(cellOf(row, { ...tcp1, key: 'tcp8.gbps' }), '');
});

t.test('a ratio needs both contenders in the round', async (t) => {
  const query = { metric: 'tcp1.gbps', profile: 'as is', contender: 'Kersey', to: 'nebula' } as const;
  const results = [result('nebula', 0, 2), result('Kersey', 0, 8), result('Kersey', 1, 9)];
  t.same(ratiosOf(results, query), [4]);
  t.same(ratiosOf(results, { ...query, profile: 'all off' }), []);
});

t.test('drops add up over the rounds; other profiles are other tables', async (t) => {
  const results = [
    result('Kersey', 0, 1, { tx_no_peer: 1 }),
    result('Kersey', 1, 1, { tx_no_peer: 2, rx_short: 1 }),
  ];
  t.same(rowsOf(results, 'as is')[0]?.drops, { tx_no_peer: 3, rx_short: 1 });
  t.same(rowsOf(results, 'plain NIC'), []);
});
