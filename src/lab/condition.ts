// Waiting for a state of the world instead of for a time.

import { setTimeout as delay } from 'node:timers/promises';
import { KerseyError } from '../errors.ts';

export interface ConditionOptions {
  readonly timeoutMs?: number;
  readonly intervalMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * Asks `check` until it answers with something other than false or undefined, and resolves with that answer. A check
 * that throws ends the wait at once. `what` completes the sentence "gave up waiting for ...".
 */
export async function awaitCondition<T>(
  what: string,
  check: () => T | false | undefined | Promise<T | false | undefined>,
  options: ConditionOptions = {},
): Promise<T> {
  const { timeoutMs = 10_000, intervalMs = 20, signal } = options;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    signal?.throwIfAborted();
    const answer = await check();
    if (answer !== false && answer !== undefined) return answer;
    if (performance.now() > deadline) {
      const seconds = String(timeoutMs / 1000);
      throw new KerseyError('TIMEOUT', `gave up waiting for ${what} after ${seconds} s`, {
        remedy: 'try again',
      });
    }
    await delay(intervalMs, undefined, { signal });
  }
}
