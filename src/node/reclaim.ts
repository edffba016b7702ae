// Claiming a lease again that is missing from the store: one try at a time, the waits between them growing.

import { KerseyError } from '../errors.ts';
import type { Lease } from '../store/lease.ts';
import type { PreviousSubnets } from './subnet-env.ts';

/** The wait after the first try that failed, doubled with every further one, and its end. In milliseconds. */
const firstWait = 1000;
const longestWait = 30_000;

export class Reclaim {
  readonly #claim: (previous: PreviousSubnets) => Promise<Lease>;
  readonly #now: () => number;
  #wanted = false;
  #running = false;
  #failures = 0;
  #notBefore = 0;
  #failure: KerseyError | undefined;

  constructor(claim: (previous: PreviousSubnets) => Promise<Lease>, now = () => performance.now()) {
    this.#claim = claim;
    this.#now = now;
  }

  /** Why the last try failed. */
  get failure(): KerseyError | undefined {
    return this.#failure;
  }

  /** Whether the lease is missing: attempt() is to be called again. */
  get wanted(): boolean {
    return this.#wanted;
  }

  /** The lease is there. */
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

  async #try({ subnet, subnet6: ipv6Subnet }: Lease, done: (lease: Lease) => void): Promise<void> {
    try {
      done(await this.#claim({ ...(subnet && { subnet }), ...(ipv6Subnet && { ipv6Subnet }) }));
      // Should it be missing again at once, somebody removes it: that is no reason to spin either.
      this.#notBefore = this.#now() + firstWait;
    } catch (error) {
      const { code, message, remedy } = KerseyError.from(error);
      this.#notBefore = this.#now() + Math.min(longestWait, firstWait * 2 ** Math.min(this.#failures, 10));
      this.#failures++;
      this.#failure = new KerseyError(code, `the lease could not be claimed again: ${message}`, {
        remedy,
        cause: error,
      });
    } finally {
      this.#running = false;
    }
  }
}
