// What the service manager is told (sd_notify): READY=1 when the node forwards, STATUS= a line for `systemctl status`,
// WATCHDOG=1 while it is healthy, STOPPING=1 when it ends. Without NOTIFY_SOCKET nobody is told anything.
//
// A message that the manager's queue has no room for is sent again a little later, in order. Any other failure is
// logged once: whether somebody listens is not a reason to stop.

import { KerseyError, errnoName, errnoText, oneLine } from '../errors.ts';
import { native } from '../native/loader.ts';
import type { Log } from './log.ts';

/** The socket call, for tests. */
export type Send = (path: string, message: string) => void;

const retryAfter = 100;
/** More than these waiting means that nobody reads; the oldest go. */
const mostWaiting = 16;

export class ServiceNotifier {
  /** The manager kills us when it hears nothing for this long, in milliseconds; undefined when it does not watch. */
  readonly watchdog: number | undefined;
  readonly #socket: string | undefined;
  readonly #log: Log;
  readonly #send: Send;
  readonly #waiting: string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #status = '';
  #complained = false;

  constructor(
    environment: Readonly<Record<string, string | undefined>>,
    log: Log,
    send: Send = (path, message) => {
      native().notify(path, message);
    },
  ) {
    this.#log = log;
    this.#send = send;
    const socket = environment['NOTIFY_SOCKET'] ?? '';
    this.#socket = socket === '' ? undefined : socket;
    this.watchdog = this.#socket === undefined ? undefined : watchdogOf(environment);
  }

  /** Whether a manager listens. */
  get listened(): boolean {
    return this.#socket !== undefined;
  }

  ready(): void {
    this.#tell('READY=1');
  }

  alive(): void {
    this.#tell('WATCHDOG=1');
  }

  stopping(): void {
    this.#tell('STOPPING=1');
  }

  /** Says it when it is something new. */
  status(text: string): void {
    if (text === this.#status) return;
    this.#status = text;
    this.#tell(`STATUS=${oneLine(text)}`);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting.length = 0;
  }

  #tell(message: string): void {
    if (this.#socket === undefined) return;
    this.#waiting.push(message);
    if (this.#waiting.length > mostWaiting) this.#waiting.shift();
    if (this.#timer === undefined) this.#flush(this.#socket);
  }

  #flush(socket: string): void {
    this.#timer = undefined;
    for (;;) {
      const [message] = this.#waiting;
      if (message === undefined) return;
      try {
        this.#send(socket, message);
      } catch (error) {
        if (errnoName(error) === 'EAGAIN') {
          this.#timer = setTimeout(() => {
            this.#flush(socket);
          }, retryAfter).unref();
          return;
        }
        this.#complain(socket, error);
      }
      this.#waiting.shift();
    }
  }

  #complain(socket: string, cause: unknown): void {
    if (this.#complained) return;
    this.#complained = true;
    const why = cause instanceof KerseyError ? cause.message : errnoText(cause);
    this.#log.warn(`the service manager cannot be told: NOTIFY_SOCKET ${socket}: ${why}`);
  }
}

function watchdogOf(environment: Readonly<Record<string, string | undefined>>): number | undefined {
  const period = environment['WATCHDOG_USEC'] ?? '';
  const pid = environment['WATCHDOG_PID'] ?? '';
  // The variables may be inherited from a parent that is the one being watched.
  if (!/^[1-9]\d{0,15}$/.test(period) || (pid !== '' && pid !== String(process.pid))) return undefined;
  return Number(period) / 1000;
}
