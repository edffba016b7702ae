// Waiting before trying again: twice as long each time, up to a limit, and drawn at random, so that a thousand nodes
// whose etcd went away do not come back in one moment.

export interface BackoffRange {
  /** In milliseconds. */
  readonly from: number;
  readonly to: number;
}

/**
 * How long to wait, in milliseconds.
 *
 * @param failures how many there were in a row, from 1
 * @param random from 0 to below 1
 */
export function backoff({ from, to }: BackoffRange, failures: number, random = Math.random): number {
  return Math.min(to, from * 2 ** Math.min(failures - 1, 30)) * (1 - random() / 2);
}
