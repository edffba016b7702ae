// A node for the life of the process: started, waited for where the store is not ready, and started again with another
// subnet where the store has given ours away.
//
// A shared store may be empty or away when a host boots; its daemon waits, and says so once a minute. Every other reason
// why a first start fails is the operator's to mend, and is thrown. Once a node has run nothing is: what fails then is
// logged and tried again, because a daemon that ends takes the network of its containers along.

import { setTimeout as delay } from 'node:timers/promises';
import { KerseyError } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import type { Log } from '../observe/log.ts';
import { Node } from './node.ts';
import type { NodeOptions } from './node.ts';

export interface ServeOptions extends Omit<NodeOptions, 'moved'> {
  /** Told of every node that forwards. */
  readonly onStarted: (node: Node) => void;
  /** Told when it is gone again. */
  readonly onEnded?: () => void;
  /** Told why there is none yet, as often as it is logged. */
  readonly onWaiting?: (reason: KerseyError) => void;
}

/** What comes by itself, or by somebody who writes to the store. flannel waits for a config that it can read, too. */
const awaited: ReadonlySet<ErrorCode> = new Set([
  'CONFIG_MISSING',
  'CONFIG_INVALID',
  'CONFIG_NETWORK_MISSING',
  'STORE_UNREACHABLE',
  'STORE_UNCERTAIN',
  // Lost races: too many hosts start at once.
  'STORE_CONFLICT',
]);

/** As flannel does, in milliseconds. */
const retryPause = 1000;
/** A reason to wait is told again after as long. */
const tellPause = 60_000;
/** After a change-over: waits between starts that fail. */
const longestRetry = 30_000;

/** Ends when the signal aborts. @throws KerseyError when the first start fails */
export async function serveNode(options: ServeOptions, signal: AbortSignal): Promise<void> {
  const { log, store } = options;
  let moved: string | undefined;
  for (;;) {
    const node = await start(options, moved, signal);
    if (node === undefined) return;
    try {
      options.onStarted(node);
      const end = await node.run(signal);
      if (end.kind === 'stopped') return;
      const { code, message } = end.reason;
      log.error(`${code}: ${message}; changing over to another subnet`, { code });
      moved = movedText(end.reason, node, store.description);
    } finally {
      options.onEnded?.();
      await node.close();
    }
  }
}

/** @returns undefined when stopped before it forwards */
async function start(
  options: ServeOptions,
  moved: string | undefined,
  signal: AbortSignal,
): Promise<Node | undefined> {
  const waiting = new Waiting(options.log);
  const over = (): boolean => signal.aborted;
  for (let tries = 0; !over(); tries++) {
    try {
      return await Node.start({ ...options, moved }, signal);
    } catch (error) {
      if (over()) throw error;
      const reason = KerseyError.from(error);
      const patient = options.store.shared && awaited.has(reason.code);
      if (moved === undefined && !patient) throw error;
      if (waiting.tell(reason)) options.onWaiting?.(reason);
      const pause = patient ? retryPause : Math.min(longestRetry, retryPause * 2 ** Math.min(tries, 10));
      await delay(pause, undefined, { signal }).catch(() => undefined);
    }
  }
  return undefined;
}

class Waiting {
  readonly #log: Log;
  #told: { readonly line: string; readonly at: number } | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  /** @returns whether it was worth telling */
  tell(reason: KerseyError): boolean {
    const now = performance.now();
    const { line, code } = reason;
    if (this.#told?.line === line && now - this.#told.at < tellPause) return false;
    this.#told = { line, at: now };
    this.#log.warn(`waiting: ${line}`, { code });
    return true;
  }
}

function movedText(reason: KerseyError, node: Node, store: string): string {
  const { subnet, subnet6 } = node.status().lease;
  const old = [subnet, subnet6].filter((text) => text !== null).join(' and ');
  return (
    `at ${new Date().toISOString()} this node changed over from ${old}, which ${store} gave to another ` +
    `(${reason.message}); restart the containers that have addresses of it`
  );
}
