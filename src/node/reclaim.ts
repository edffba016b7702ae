// Claiming a lease again that is missing from the store, or moving it to another public address of ours: one try at a
// time, the waits between them growing.

import { KerseyError } from '../errors.ts';
import type { Lease } from '../store/lease.ts';

/** The wait after the first try that failed, doubled with every further one, and its end. In milliseconds. */
const firstWait = 1000;
const longestWait = 30_000;

export class Reclaim {
  readonly #claim: (own: Lease) => Promise<Lease>;
  /** What failed, for the message. */
  readonly #what: string;
  readonly #now: () => number;
  #wanted = false;
  #running = false;
  #failures = 0;
  #notBefore = 0;
  #failure: KerseyError | undefined;

  constructor(claim: (own: Lease) => Promise<Lease>, what: string, now = () => performance.now()) {
    this.#claim = claim;
    this.#what = what;
    this.#now = now;
  }

  /** Why the last try failed. */
  get failure(): KerseyError | undefined {
    return this.#failure;
  }

  /** Whether it is not done yet: attempt() is to be called again. */
  get wanted(): boolean {
    return this.#wanted;
  }

  /** The lease is as it should be. */
  over(): void {
    this.#wanted = false;
    this.#failures = 0;
    this.#notBefore = 0;
    this.#failure = undefined;
  }

  /** Tries now, unless a try is under way or has just failed. Asked again and again as long as the lease is missing. */
  attempt(own: Lease, done: (lease: Lease) => void): void {
    this.#wanted = true;
    if (this.#running || this.#now() < this.#notBefore) return;
    this.#running = true;
    void this.#try(own, done);
  }

  async #try(own: Lease, done: (lease: Lease) => void): Promise<void> {
    try {
      done(await this.#claim(own));
      // Should it be missing again at once, somebody removes it: that is no reason to spin either.
      this.#notBefore = this.#now() + firstWait;
    } catch (error) {
      const { code, message, remedy } = KerseyError.from(error);
      this.#notBefore = this.#now() + Math.min(longestWait, firstWait * 2 ** Math.min(this.#failures, 10));
      this.#failures++;
      this.#failure = new KerseyError(code, `${this.#what}: ${message}`, {
        remedy,
        cause: error,
      });
    } finally {
      this.#running = false;
    }
  }
}
