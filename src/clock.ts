// Time, for what waits by itself and is tested without waiting.

export interface Clock {
  /** Monotonic, in milliseconds. */
  now(): number;
  /** @returns how to have it not called */
  after(milliseconds: number, call: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after: (milliseconds, call) => {
    const timer = setTimeout(call, milliseconds);
    return () => {
      clearTimeout(timer);
    };
  },
};
