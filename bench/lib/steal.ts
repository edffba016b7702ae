// Measuring beside others: the hypervisor takes CPU time away ("steal"), and what is measured meanwhile is too slow.

import { setTimeout as delay } from 'node:timers/promises';
import { cpuTimesSince, readCpuTimes, stealPercent } from '../../src/lab/cpu.ts';

/** More of the CPU time than this stolen, in percent, and a test is worth repeating. */
export const stealLimit = 3;

export interface Attempt<T> {
  readonly value: T;
  /** Of the CPU time that the machine wanted meanwhile. */
  readonly stealPercent: number;
}

export async function withSteal<T>(test: () => Promise<T>): Promise<Attempt<T>> {
  const before = readCpuTimes();
  const value = await test();
  return { value, stealPercent: stealPercent(cpuTimesSince(before)) };
}

/**
 * Repeats a test until little was stolen from an attempt, and answers with the least stolen one. `again` is asked
 * before each repeat, with the number of attempts so far. `attempt` is for tests of this function.
 */
export async function leastStolen<T>(
  test: () => Promise<T>,
  options: {
    readonly again: (attempts: number) => boolean;
    readonly signal: AbortSignal;
    /** Before a repeat: whoever took the time may be done by then. */
    readonly pauseMs?: number;
    readonly attempt?: (test: () => Promise<T>) => Promise<Attempt<T>>;
  },
): Promise<Attempt<T> & { readonly attempts: number }> {
  const { again, signal, pauseMs = 1000, attempt = withSteal } = options;
  let best = await attempt(test);
  let attempts = 1;
  for (; best.stealPercent > stealLimit && again(attempts); attempts++) {
    await delay(pauseMs, undefined, { signal });
    const next = await attempt(test);
    if (next.stealPercent < best.stealPercent) best = next;
  }
  return { ...best, attempts };
}
