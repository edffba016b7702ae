// Interleaved rounds: every round runs every contender in a fresh lab, the next round starts with the next contender,
// and a ratio is taken between two results of one round. So what changes on the machine over time hits all alike.
//
// A test during which the hypervisor took much CPU time away is repeated, and the least stolen attempt counts.

import { KerseyError } from '../../src/errors.ts';
import { unreadLimit, type LossAccount } from '../../src/lab/losses.ts';
import type { OffloadProfile } from '../../src/lab/offloads.ts';
import { leastStolen, type Attempt } from '../lib/steal.ts';
import { twice } from '../lib/twice.ts';
import { testsIn, type Entry, type Leg, type Plan } from '../plan.ts';
import type { Contender, Joined, TestName } from './contender.ts';
import { checkPayload, runTest, type Sample, type TestResult } from './tests.ts';

export interface RoundResult {
  readonly contender: string;
  readonly profile: OffloadProfile;
  readonly round: number;
  /** Every number that the tests gave, by the names of metrics.ts. */
  readonly sample: Sample;
  /** What the contender dropped, by reason, where it tells; reasons that did not occur are left out. */
  readonly drops: Readonly<Record<string, number>>;
  /** Where the packets of the UDP tests went. */
  readonly losses: Readonly<Partial<Record<TestName, LossAccount>>>;
}

export interface RoundsOptions {
  readonly plan: Plan;
  readonly signal: AbortSignal;
  /** Called before each contender's turn. */
  readonly onTurn: (contender: string, leg: Leg, round: number) => void;
  readonly onResult: (result: RoundResult) => void;
}

export interface Rounds {
  readonly results: readonly RoundResult[];
  /** What no result may have: corrupted payload, losses that no counter explains, a contender that did not run. */
  readonly faults: readonly string[];
  /** Contenders of others that failed, and how. */
  readonly failed: Readonly<Record<string, string>>;
}

export async function runRounds(options: RoundsOptions): Promise<Rounds> {
  return new Runner(options).run();
}

class Runner {
  readonly #options: RoundsOptions;
  readonly #results: RoundResult[] = [];
  readonly #faults: string[] = [];
  readonly #failed: Record<string, string> = {};
  /** Seconds left for repeats. */
  #spare: number;

  constructor(options: RoundsOptions) {
    this.#options = options;
    this.#spare = options.plan.repeatSeconds;
  }

  async run(): Promise<Rounds> {
    for (const leg of this.#options.plan.legs) {
      for (let round = 0; round < leg.rounds; round++) {
        for (const entry of rotated(leg.entries, round)) {
          const tests = testsIn(leg, round, entry);
          if (tests.length === 0 || entry.contender.name in this.#failed) continue;
          this.#options.onTurn(entry.contender.name, leg, round);
          await this.#turn(leg, round, { ...entry, tests });
        }
      }
    }
    return { results: this.#results, faults: this.#faults, failed: this.#failed };
  }

  async #turn(leg: Leg, round: number, entry: Entry): Promise<void> {
    const { signal, onResult } = this.#options;
    const { contender } = entry;
    const where = `${contender.name}, veth ${leg.profile}, round ${round + 1}`;
    try {
      const { result, corrupted } = await twice(() => this.#measure(leg, round, entry), signal);
      this.#faults.push(...corrupted.map((fault) => `${where}: ${fault}`));
      if (contender.vouched) this.#faults.push(...unexplainedFaults(where, result.losses));
      this.#results.push(result);
      onResult(result);
    } catch (error) {
      signal.throwIfAborted();
      this.#fail(contender, where, KerseyError.from(error).message);
    }
  }

  async #measure(
    { profile }: Leg,
    round: number,
    { contender, tests }: Entry,
  ): Promise<{ result: RoundResult; corrupted: readonly string[] }> {
    const joined = await contender.open({ offloads: profile, signal: this.#options.signal });
    try {
      const corrupted = await checkPayload(joined);
      const { sample, losses } = await this.#tests(joined, tests);
      const counted = Object.entries((await joined.totals?.())?.drops ?? {});
      const drops = Object.fromEntries(counted.filter(([, count]) => count > 0));
      return { result: { contender: contender.name, profile, round, sample, drops, losses }, corrupted };
    } finally {
      await joined.close();
    }
  }

  #fail({ name, vouched }: Contender, where: string, message: string): void {
    if (vouched) this.#faults.push(`${where}: ${message}`);
    else this.#failed[name] = `failed: ${message}`;
  }

  async #tests(
    joined: Joined,
    tests: readonly TestName[],
  ): Promise<{ sample: Sample; losses: RoundResult['losses'] }> {
    const sample: Record<string, number> = {};
    const losses: Partial<Record<TestName, LossAccount>> = {};
    for (const test of tests) {
      const { value: result, stealPercent, attempts } = await this.#leastStolen(test, joined);
      const numbers = { ...result.numbers, stealPercent, attempts };
      for (const [name, value] of Object.entries(numbers)) sample[`${test}.${name}`] = value;
      if (result.losses !== undefined) losses[test] = result.losses;
    }
    return { sample, losses };
  }

  #leastStolen(test: TestName, joined: Joined): Promise<Attempt<TestResult> & { attempts: number }> {
    const { seconds, attempts: most } = this.#options.plan;
    return leastStolen(() => runTest(test, joined, seconds[test]), {
      signal: this.#options.signal,
      again: (attempts) => {
        if (attempts >= most || this.#spare <= 0) return false;
        this.#spare -= seconds[test] + 2;
        return true;
      },
    });
  }
}

function rotated<T>(items: readonly T[], by: number): readonly T[] {
  const start = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

export function unexplainedFaults(where: string, losses: RoundResult['losses']): readonly string[] {
  return Object.entries(losses)
    .filter(([, account]) => account.unexplained > unreadLimit)
    .map(
      ([test, { unexplained, sent }]) =>
        `${where}: ${test}: ${unexplained} of ${sent} packets lost unexplained`,
    );
}
