// SIGINT and SIGTERM for a command that has to clean up first.

import { setTimeout as delay } from 'node:timers/promises';
import { KerseyError } from '../errors.ts';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs `work` with a signal that aborts on the first SIGINT, SIGTERM or SIGHUP, waits until it has cleaned up, and
 * then ends the process by that signal. A second one ends it at once; what cleans up at exit still does.
 */
export async function withSignals<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let received: NodeJS.Signals | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (received !== undefined) process.exit(1);
    received = signal;
    controller.abort(new KerseyError('INTERRUPTED', `stopped by ${signal}`));
  };
  for (const signal of signals) process.on(signal, onSignal);
  try {
    return await work(controller.signal);
  } catch (error) {
    // What fails after the signal fails because of it.
    if (received === undefined) throw error;
    throw controller.signal.reason;
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
    if (received !== undefined) await die(received);
  }
}

/** Ends the process by the signal. Others may listen for it too, and end it when their turn comes. */
async function die(signal: NodeJS.Signals): Promise<void> {
  process.kill(process.pid, signal);
  await delay(1000);
}
