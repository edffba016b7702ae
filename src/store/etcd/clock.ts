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

/** Waits that double from `first` to `longest`, each shortened at random by up to half, so that many do not come in step. */
export class Backoff {
  readonly #first: number;
  readonly #longest: number;
  readonly #random: () => number;
  #tries = 0;

  constructor(first: number, longest: number, random: () => number = Math.random) {
    this.#first = first;
    this.#longest = longest;
    this.#random = random;
  }

  /** How long to wait now, in milliseconds. */
  next(): number {
    const wait = Math.min(this.#longest, this.#first * 2 ** Math.min(this.#tries, 30));
    this.#tries++;
    return wait * (1 - this.#random() / 2);
  }

  reset(): void {
    this.#tries = 0;
  }
}
