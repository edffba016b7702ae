// A host that stays right: everything on it that is a node's is broken, at random but by a seed, and what counts is how
// long it takes until `ip`, `bridge`, `nft` and `iptables-save` print what they printed before.

import { KerseyError } from '../../src/errors.ts';
import { breakageSuites } from '../../test/lib/breakage-kinds.ts';
import type { BreakageSuite } from '../../test/lib/breakage-kinds.ts';
import { BreakageWorld } from '../../test/lib/breakage-world.ts';
import { breakAndWatch } from '../../test/lib/breakage.ts';
import type { Breakage } from '../../test/lib/breakage.ts';

export type RepairMetric = 'repair.p50Ms' | 'repair.p99Ms' | 'repair.maxMs' | 'repair.foreignLost';
export type RepairNumbers = Readonly<Partial<Record<RepairMetric, readonly number[]>>>;

export interface RepairLengths {
  /** In all suites together. */
  readonly breakages: number;
  readonly seed: number;
}

export interface RepairOptions extends RepairLengths {
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

export interface Repaired {
  readonly name: string;
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface Repair {
  readonly seed: number;
  readonly numbers: RepairNumbers;
  /** By kind of breakage. */
  readonly kinds: readonly Repaired[];
  readonly suites: readonly Repaired[];
  /** Suites that cannot run here, and why. */
  readonly missing: Readonly<Record<string, string>>;
  readonly faults: readonly string[];
}

interface SuiteResult {
  readonly breakages: readonly Breakage[];
  readonly foreignLost: readonly string[];
}

export async function runRepair({ breakages, seed, signal, say }: RepairOptions): Promise<Repair> {
  say(`what others break is put right: ${breakages} breakages, seed ${seed}`);
  const results = new Map<BreakageSuite, SuiteResult>();
  const missing: Record<string, string> = {};
  const faults: string[] = [];
  const each = Math.ceil(breakages / breakageSuites.length);
  for (const [i, suite] of breakageSuites.entries()) {
    try {
      const result = await runSuite(suite, each, seed + i, signal);
      if (typeof result === 'string') {
        missing[suite] = result;
        continue;
      }
      results.set(suite, result);
      say(`  ${suite}: ${result.breakages.length} put right`);
    } catch (error) {
      signal.throwIfAborted();
      faults.push(`repair, ${suite}: ${KerseyError.from(error).message}`);
    }
  }
  const all = [...results.values()].flatMap((result) => result.breakages);
  const lost = [...results.values()].flatMap((result) => result.foreignLost);
  faults.push(...lost.map((line) => `repair: something foreign was changed: ${line}`));
  const { p50Ms, p99Ms, maxMs } = summaryOf('all', all);
  return {
    ...{ seed, missing, faults },
    numbers:
      all.length === 0
        ? {}
        : {
            'repair.p50Ms': [p50Ms],
            'repair.p99Ms': [p99Ms],
            'repair.maxMs': [maxMs],
            'repair.foreignLost': [lost.length],
          },
    kinds: [...new Set(all.map(({ name }) => name))]
      .map((kind) =>
        summaryOf(
          kind,
          all.filter(({ name }) => name === kind),
        ),
      )
      .toSorted((a, b) => b.p99Ms - a.p99Ms),
    suites: [...results].map(([suite, result]) => summaryOf(suite, result.breakages)),
  };
}

async function runSuite(
  suite: BreakageSuite,
  count: number,
  seed: number,
  signal: AbortSignal,
): Promise<SuiteResult | string> {
  const world = await BreakageWorld.open(suite, signal);
  if (typeof world === 'string') return world;
  try {
    const breakages = await breakAndWatch(world, count, seed);
    await world.well();
    return { breakages, foreignLost: await world.foreignLost() };
  } finally {
    await world.close();
  }
}

/** A percentile is a value that was measured: the smallest that so many are not above. */
function summaryOf(name: string, breakages: readonly Breakage[]): Repaired {
  const times = breakages.map(({ seconds }) => seconds * 1000).toSorted((a, b) => a - b);
  const at = (share: number): number => times[Math.max(0, Math.ceil(share * times.length) - 1)] ?? NaN;
  return { name, count: times.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}
