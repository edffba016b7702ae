// Time as the etcd store sees it: monotonic, because leases must not end when somebody sets the host's clock.

import { setTimeout as delay } from 'node:timers/promises';

export interface Clock {
  /** Milliseconds from any start, never going back. */
  now(): number;
  /** Resolves after so many milliseconds, or at once when the signal aborts. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>;
}

/** The longest that a timer of Node can wait. */
const longestSleep = 2_147_483_647;

export const systemClock: Clock = {
  now: () => performance.now(),
  sleep: async (milliseconds, signal) => {
    if (signal.aborted) return;
    try {
      await delay(Math.min(Math.max(milliseconds, 0), longestSleep), undefined, { signal });
    } catch (error) {
      if (!(error instanceof Error && error.name === 'AbortError')) throw error;
    }
  },
};
