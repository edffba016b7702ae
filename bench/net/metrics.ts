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
  { key: 'udp1400.gbps', title: ['UDP 1400 B', 'Gbit/s'], digits: 2 },
  { key: 'roundTrip.p50Us', title: ['RTT p50', 'us'], digits: 0 },
  { key: 'roundTrip.p99Us', title: ['RTT p99', 'us'], digits: 0 },
  { key: 'tcp1.cpuSecondsPerGB', title: ['CPU', 's/GB'], digits: 2 },
];

/** What ratios are taken against. */
export const reference = 'kernel vxlan';

export interface Row {
  readonly contender: string;
  readonly metrics: Readonly<Record<string, Spread>>;
  /** Median over the rounds of (contender / reference in the same round). */
  readonly ratios: Readonly<Record<string, number>>;
  readonly drops: Readonly<Record<string, number>>;
}

export function rowsOf(results: readonly RoundResult[], profile: OffloadProfile): readonly Row[] {
  const ofProfile = results.filter((result) => result.profile === profile);
  const contenders = [...new Set(ofProfile.map((result) => result.contender))];
  const references = new Map(
    ofProfile
      .filter((result) => result.contender === reference)
      .map((result) => [result.round, result.sample]),
  );
  return contenders.map((contender) => {
    const own = ofProfile.filter((result) => result.contender === contender);
    const keys = [...new Set(own.flatMap((result) => Object.keys(result.sample)))];
    const spreads = keys.map(
      (key) => [key, spreadOf(own.flatMap((result) => result.sample[key] ?? []))] as const,
    );
    const ratios = keys.flatMap((key) => {
      const perRound = own.flatMap(({ round, sample }) => {
        const [mine, theirs] = [sample[key], references.get(round)?.[key]];
        return mine === undefined || theirs === undefined || theirs === 0 ? [] : [mine / theirs];
      });
      return perRound.length === 0 ? [] : [[key, spreadOf(perRound).median] as const];
    });
    return {
      contender,
      metrics: Object.fromEntries(spreads),
      ratios: Object.fromEntries(ratios),
      drops: total(own.map((result) => result.drops)),
    };
  });
}

function total(counts: readonly Readonly<Record<string, number>>[]): Readonly<Record<string, number>> {
  const sum: Record<string, number> = {};
  for (const count of counts) {
    for (const [reason, value] of Object.entries(count)) sum[reason] = (sum[reason] ?? 0) + value;
  }
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

export function ratioOf(row: Row): string {
  const ratio = row.ratios['tcp1.gbps'];
  return ratio === undefined ? '' : ratio.toFixed(2);
}
