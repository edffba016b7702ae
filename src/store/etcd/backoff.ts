// Waiting before trying again: twice as long each time, up to a limit, and drawn at random, so that a thousand nodes
// whose etcd went away do not come back in one moment.

import { setTimeout as delay } from 'node:timers/promises';
import type { EtcdTiming } from './options.ts';

/** @param failures how many there were in a row, from 1 */
export function backoffMs(
  { backoffFrom, backoffTo }: Pick<EtcdTiming, 'backoffFrom' | 'backoffTo'>,
  failures: number,
): number {
  const ceiling = Math.min(backoffTo, backoffFrom * 2 ** Math.min(failures - 1, 30));
  return ceiling * (0.5 + Math.random() / 2);
}

/** Resolves after the time, or at once when the signal aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
