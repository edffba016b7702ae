// A clock that the test moves: hours pass in a moment, and nothing happens between.

import type { Clock } from '../../src/clock.ts';

export class FakeClock implements Clock {
  #now = 0;
  #timers: { readonly due: number; readonly call: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(milliseconds: number, call: () => void): () => void {
    const timer = { due: this.#now + milliseconds, call };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Timers that have not run out. */
  get waiting(): number {
    return this.#timers.length;
  }

  /** Time passes and nobody is called: something takes that long. */
  pass(milliseconds: number): void {
    this.#now += milliseconds;
  }

  /** Time passes, and whoever is due meanwhile is called, each at its time, also those that come to be due by that. */
  advance(milliseconds: number): void {
    const end = this.#now + milliseconds;
    for (;;) {
      const [next] = this.#timers.filter(({ due }) => due <= end).sort((a, b) => a.due - b.due);
      if (next === undefined) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.due);
      next.call();
    }
    this.#now = Math.max(this.#now, end);
  }
}
