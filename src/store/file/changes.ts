// When a file may have changed.
//
// The kernel's notices (inotify) on the directory, because a file is mostly changed by putting another in its place;
// and a look at the file every two seconds, because notices do not come on every file system, nor when the directory
// itself is replaced. Notices that come together are one change: who writes in place makes several, and the first of
// them shows half a file.

import { watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { errnoName } from '../../errors.ts';
import { fileIdentity } from './document.ts';

const lookInterval = 2000;
/** How long it must be quiet for a change to be over, and how long we wait for that at most. */
const quiet = 20;
const patience = 200;

/** Yields at once, then whenever the file may have changed, until the signal aborts. */
export async function* fileChanges(file: string, signal: AbortSignal): AsyncGenerator<void, void, undefined> {
  const bell = new Bell();
  const ring = (): void => {
    bell.ring();
  };
  const sentry = new Sentry(file, ring);
  // At once, also when the reader never asks for the next change.
  const end = (): void => {
    sentry.stop();
    bell.ring();
  };
  signal.addEventListener('abort', end);
  try {
    await sentry.start();
    while (!signal.aborted) {
      // Reset before the reader reads: what changes while it reads is the next change.
      bell.reset();
      yield;
      await bell.rung();
      await settle(bell, signal);
    }
  } finally {
    signal.removeEventListener('abort', end);
    sentry.stop();
  }
}

/** Waits until the bell has been quiet for a while, within reason. */
async function settle(bell: Bell, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + patience;
  while (bell.isRung && !signal.aborted && performance.now() < deadline) {
    bell.reset();
    await delay(quiet);
  }
}

/** Wakes one sleeper. Ringing it twice is ringing it once. */
class Bell {
  #isRung = false;
  #wake: (() => void) | undefined;

  get isRung(): boolean {
    return this.#isRung;
  }

  ring(): void {
    this.#isRung = true;
    this.#wake?.();
  }

  reset(): void {
    this.#isRung = false;
  }

  async rung(): Promise<void> {
    if (this.#isRung) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }
}

class Sentry {
  readonly #file: string;
  readonly #onChange: () => void;
  /** By path and identity of the directory, so that one put in its place is another one. */
  readonly #watchers = new Map<string, FSWatcher>();
  #timer: NodeJS.Timeout | undefined;
  #looking = false;
  #stopped = false;
  #seen: string | undefined;

  constructor(file: string, onChange: () => void) {
    this.#file = file;
    this.#onChange = onChange;
  }

  async start(): Promise<void> {
    await this.#look();
    this.#timer = setInterval(() => {
      if (!this.#looking) void this.#look();
    }, lookInterval);
    this.#keepAlive();
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  /** Never throws: what cannot be looked at looks like its error. */
  async #look(): Promise<void> {
    this.#looking = true;
    await this.#watchDirectories();
    const seen = await look(this.#file);
    this.#looking = false;
    if (seen === this.#seen) return;
    this.#seen = seen;
    this.#onChange();
  }

  async #watchDirectories(): Promise<void> {
    const target = await realpath(this.#file).catch(() => this.#file);
    const isLink = target !== this.#file;
    const wanted = new Map<string, string>();
    for (const directory of new Set([path.dirname(this.#file), path.dirname(target)])) {
      wanted.set(`${directory} ${await lookAtDirectory(directory)}`, directory);
    }
    if (this.#stopped) return;
    for (const [key, watcher] of this.#watchers) {
      if (wanted.has(key)) continue;
      watcher.close();
      this.#watchers.delete(key);
    }
    for (const [key, directory] of wanted) {
      if (!this.#watchers.has(key)) this.#watch(key, directory, isLink ? undefined : path.basename(target));
    }
    this.#keepAlive();
  }

  /** @param name the file in it that matters; undefined when any may, because links lead through the directory */
  #watch(key: string, directory: string, name: string | undefined): void {
    try {
      const watcher = watch(directory, (_event, changed) => {
        if (name === undefined || changed === null || changed === name) this.#onChange();
      });
      watcher.on('error', () => {
        watcher.close();
        this.#watchers.delete(key);
      });
      this.#watchers.set(key, watcher);
    } catch {
      // No such directory, or no more inotify watches: looking every two seconds remains.
    }
  }

  /** A process that only waits for changes lives by its notices; without them, by its timer. */
  #keepAlive(): void {
    if (this.#watchers.size > 0) this.#timer?.unref();
    else this.#timer?.ref();
  }
}

async function look(file: string): Promise<string> {
  try {
    return fileIdentity(await stat(file, { bigint: true }));
  } catch (error) {
    return errnoName(error) ?? String(error);
  }
}

async function lookAtDirectory(directory: string): Promise<string> {
  try {
    const { dev, ino } = await stat(directory);
    return `${dev}:${ino}`;
  } catch (error) {
    return errnoName(error) ?? String(error);
  }
}
