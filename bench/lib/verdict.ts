// Holds a run's numbers against the targets.

import { ratiosOf } from '../net/metrics.ts';
import type { RoundResult } from '../net/rounds.ts';
import type { Bound, Metric, Target } from '../targets.ts';
import { spreadOf, type Spread } from './statistics.ts';
import type { Grid } from './table.ts';

export type Verdict = 'aim met' | 'must met' | 'FAILS' | 'not measured';

export interface Judgement {
  readonly title: string;
  readonly verdict: Verdict;
  /** Of the ratios of the rounds, or of the numbers of a scale or control bench; undefined when there are none. */
  readonly measured: Spread | undefined;
  readonly target: Target;
}

export function judge(
  targets: readonly Target[],
  results: readonly RoundResult[],
  numbers: Readonly<Partial<Record<Metric, readonly number[]>>>,
): readonly Judgement[] {
  return targets.map((target) => {
    const { measure } = target;
    const values = measure.kind === 'ratio' ? ratiosOf(results, measure) : (numbers[measure.metric] ?? []);
    const measured = values.length === 0 ? undefined : spreadOf(values);
    return { title: target.title, verdict: verdictOf(target, measured), measured, target };
  });
}

function verdictOf({ must, aim, digits }: Target, measured: Spread | undefined): Verdict {
  if (measured === undefined) return 'not measured';
  const value = Number(measured.median.toFixed(digits));
  if (!holds(must, value)) return 'FAILS';
  return aim !== undefined && holds(aim, value) ? 'aim met' : 'must met';
}

function holds(bound: Bound, value: number): boolean {
  return 'atLeast' in bound ? value >= bound.atLeast : value <= bound.atMost;
}

/** `mark` makes the rows that fail stand out. */
export function verdictGrid(judgements: readonly Judgement[], mark: (text: string) => string): Grid {
  return {
    head: ['target', 'measured\nmedian (min-max)', 'must', 'aim', 'verdict'],
    rows: judgements.map(({ target, measured, verdict }) => {
      const marked = verdict === 'FAILS' ? mark : (text: string): string => text;
      return [
        marked(target.title),
        measuredText(target, measured),
        boundText(target.must, target),
        target.aim === undefined ? '' : boundText(target.aim, target),
        marked(verdict),
      ];
    }),
  };
}

/** "2 of 17 targets FAIL: ..." */
export function summary(judgements: readonly Judgement[]): string {
  const of = (verdict: Verdict): readonly Judgement[] =>
    judgements.filter((judgement) => judgement.verdict === verdict);
  const counts = (['aim met', 'must met', 'not measured'] as const)
    .map((verdict) => [of(verdict).length, verdict] as const)
    .filter(([count]) => count > 0)
    .map(([count, verdict]) => `${count} ${verdict}`);
  const failing = of('FAILS');
  if (failing.length === 0) return `Targets: none fails; ${counts.join(', ')}.`;
  const titles = failing.map(({ title }) => title).join('; ');
  return `Targets: ${failing.length} of ${judgements.length} FAIL (${titles}); ${counts.join(', ')}.`;
}

function measuredText({ digits, unit }: Target, measured: Spread | undefined): string {
  if (measured === undefined) return '';
  const [median, min, max] = [measured.median, measured.min, measured.max].map((x) => x.toFixed(digits));
  const spread = measured.values.length < 2 ? '' : ` (${min ?? ''}-${max ?? ''})`;
  return `${median ?? ''} ${unit}${spread}`;
}

function boundText(bound: Bound, { unit }: Target): string {
  return 'atLeast' in bound ? `>= ${bound.atLeast} ${unit}` : `<= ${bound.atMost} ${unit}`;
}
