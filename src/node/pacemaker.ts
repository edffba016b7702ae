// When a node compares the host with what it should be.
//
//   something is wanted (beat)    now
//   something happened (wake)     at once
//   the last comparison left something to try again    after `retryPeriod`
//   nothing happened              after `fullPeriod`, for what nobody tells of
//
// but where events never cease only a share of the time goes into comparing: a comparison is followed by a rest that its
// own length determines. One timer runs, set to the next of these; between them nothing wakes the process.

import { systemClock } from '../clock.ts';
import type { Clock } from '../clock.ts';

/** After how long everything is compared anew without any event, in milliseconds. */
export const fullPeriod = 30_000;
/** The same while the host is not as it should be, or our lease is missing, in milliseconds. */
export const retryPeriod = 1000;
/** Of its time, how much a node may spend comparing when events never cease; but it never waits longer than this. */
const busyShare = 0.1;
const longestRest = 1000;

export class Pacemaker {
  /** Whether it left nothing to try again. */
  readonly #compare: () => boolean;
  readonly #clock: Clock;
  #running = false;
  #cancel: (() => void) | undefined;
  /** When the last comparison ended, how long it took, and whether something has happened since it began. */
  #last = { end: 0, cost: 0, settled: true };
  #dirty = false;

  /** @param compare compares and repairs; says whether it left nothing to try again */
  constructor(compare: () => boolean, clock: Clock = systemClock) {
    this.#compare = compare;
    this.#clock = clock;
  }

  /**
   * Compares now, whatever the pace: for a change that is wanted, such as the store's, and that rests of events should
   * not delay. What it throws is the caller's, and is tried again like what it could not repair.
   */
  beat(): void {
    const start = this.#clock.now();
    this.#dirty = false;
    let settled = false;
    try {
      settled = this.#compare();
    } finally {
      const end = this.#clock.now();
      this.#last = { end, cost: end - start, settled };
      this.#schedule();
    }
  }

  /** From now on beats by itself. */
  start(): void {
    this.#running = true;
    this.#schedule();
  }

  /** Beats no more, except when told to. */
  stop(): void {
    this.#running = false;
    this.#schedule();
  }

  /** Something happened. It leads to a comparison of its own: never from within this call, and as soon as there may be one. */
  wake(): void {
    if (this.#dirty) return;
    this.#dirty = true;
    this.#schedule();
  }

  #schedule(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    if (!this.#running) return;
    this.#cancel = this.#clock.after(Math.max(0, this.#due() - this.#clock.now()), () => {
      this.#cancel = undefined;
      this.beat();
    });
  }

  #due(): number {
    const { end, cost, settled } = this.#last;
    const wait = this.#dirty ? 0 : settled ? fullPeriod : retryPeriod;
    return end + Math.max(wait, Math.min(cost / busyShare, longestRest));
  }
}
