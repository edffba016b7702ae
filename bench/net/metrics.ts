// The columns of the network tables, and how rounds become rows.

import type { OffloadProfile } from '../../src/lab/offloads.ts';
import { spreadOf, type Spread } from '../lib/statistics.ts';
import type { RoundResult } from './rounds.ts';

export interface Metric {
  /** `<test>.<number>` of a round's sample. */
  readonly key: string;
  /** What, and in which unit. */
  readonly title: readonly [what: string, unit: string];
  readonly digits: number;
}

export const metrics: readonly Metric[] = [
  { key: 'tcp1.gbps', title: ['TCP 1 stream', 'Gbit/s'], digits: 2 },
  { key: 'tcp8.gbps', title: ['TCP 8 streams', 'Gbit/s'], digits: 2 },
  { key: 'udp64.kpps', title: ['UDP 64 B', 'kpps'], digits: 0 },
  { key: 'udp64.reachedKpps', title: ['... to the socket', 'kpps'], digits: 0 },
  { key: 'udp1400.gbps', title: ['UDP 1400 B', 'Gbit/s'], digits: 2 },
  { key: 'roundTrip.p50Us', title: ['RTT p50', 'us'], digits: 0 },
  { key: 'roundTrip.p99Us', title: ['RTT p99', 'us'], digits: 0 },
  { key: 'tcp1.cpuSecondsPerGB', title: ['CPU', 's/GB'], digits: 2 },
];

/** What ratios are taken against. */
export const reference = 'kernel vxlan';

export interface RatioQuery {
  readonly metric: string;
  readonly profile: OffloadProfile;
  readonly contender: string;
  readonly to: string;
}

/** One contender's number over another's, for every round that has both. */
export function ratiosOf(
  results: readonly RoundResult[],
  { metric, profile, contender, to }: RatioQuery,
): readonly number[] {
  const of = (name: string): readonly RoundResult[] =>
    results.filter((result) => result.profile === profile && result.contender === name);
  const bases = new Map(of(to).map(({ round, sample }) => [round, sample[metric]]));
  return of(contender).flatMap(({ round, sample }) => {
    const [mine, theirs] = [sample[metric], bases.get(round)];
    return mine === undefined || theirs === undefined || theirs === 0 ? [] : [mine / theirs];
  });
}

export interface Row {
  readonly contender: string;
  readonly metrics: Readonly<Record<string, Spread>>;
  /** TCP 1 stream: median over the rounds of (contender / reference in the same round). */
  readonly ratio: number | undefined;
  readonly drops: Readonly<Record<string, number>>;
}

export function rowsOf(results: readonly RoundResult[], profile: OffloadProfile): readonly Row[] {
  const ofProfile = results.filter((result) => result.profile === profile);
  const contenders = [...new Set(ofProfile.map((result) => result.contender))];
  return contenders.map((contender) => {
    const own = ofProfile.filter((result) => result.contender === contender);
    const keys = [...new Set(own.flatMap((result) => Object.keys(result.sample)))];
    const spreads = keys.map(
      (key) => [key, spreadOf(own.flatMap((result) => result.sample[key] ?? []))] as const,
    );
    const ratios = ratiosOf(ofProfile, { metric: 'tcp1.gbps', profile, contender, to: reference });
    return {
      contender,
      metrics: Object.fromEntries(spreads),
      ratio: ratios.length === 0 ? undefined : spreadOf(ratios).median,
      drops: total(own.map((result) => result.drops)),
    };
  });
}

export function total(counts: readonly Readonly<Record<string, number>>[]): Readonly<Record<string, number>> {
  const sum: Record<string, number> = {};
  for (const [name, value] of counts.flatMap((count) => Object.entries(count)))
    sum[name] = (sum[name] ?? 0) + value;
  return sum;
}

/** `9.86 (9.50-10.1)`; the spread is left out when there was one round. */
export function cellOf(row: Row, { key, digits }: Metric): string {
  const spread = row.metrics[key];
  if (spread === undefined) return '';
  const median = spread.median.toFixed(digits);
  if (spread.values.length < 2) return median;
  return `${median} (${spread.min.toFixed(digits)}-${spread.max.toFixed(digits)})`;
}

export function ratioOf({ ratio }: Row): string {
  return ratio === undefined ? '' : ratio.toFixed(2);
}
