import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { KerseyError } from '../../../../src/errors.ts';
import { withFileLock } from '../../../../src/store/file/lock.ts';
import type { LockOptions } from '../../../../src/store/file/lock.ts';
import { nativeLock } from '../../../../src/store/open.ts';
import { ownDirectory } from './fixtures/own-directory.ts';

const options = (timeout: number, signal = new AbortController().signal): LockOptions => ({
  lock: nativeLock,
  timeout,
  signal,
});

async function refusal(attempt: Promise<unknown>): Promise<KerseyError> {
  try {
    await attempt;
  } catch (error) {
    if (error instanceof KerseyError) return error;
    throw error;
  }
  throw new Error('accepted');
}

void t.test('one at a time', async (t) => {
  const file = path.join(ownDirectory(t), 'x.json');
  let inside = 0;
  const results = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      withFileLock(file, options(20_000), async () => {
        t.equal(++inside, 1);
        await new Promise(setImmediate);
        inside--;
        return i;
      }),
    ),
  );
  t.same(
    results,
    Array.from({ length: 20 }, (_, i) => i),
  );
  t.ok(existsSync(`${file}.lock`), 'the lock file stays');
});

void t.test('the lock goes back when the action fails', async (t) => {
  const file = path.join(ownDirectory(t), 'x.json');
  await t.rejects(
    withFileLock(file, options(0), () => Promise.reject(new Error('inside'))),
    { message: 'inside' },
  );
  t.equal(await withFileLock(file, options(0), () => Promise.resolve('again')), 'again');
});

void t.test('who waits too long is told who holds it', async (t) => {
  const file = path.join(ownDirectory(t), 'x.json');
  await withFileLock(file, options(0), async () => {
    const error = await refusal(withFileLock(file, options(30), () => Promise.resolve()));
    t.equal(error.code, 'STORE_LOCKED');
    t.match(error.message, `${file} is locked by process ${process.pid} (`);
    t.equal(error.remedy, `let it finish or end it; it holds ${file}.lock`);
  });
});

void t.test('a signal ends the wait', async (t) => {
  const file = path.join(ownDirectory(t), 'x.json');
  await withFileLock(file, options(0), async () => {
    const controller = new AbortController();
    const waiting = withFileLock(file, options(600_000, controller.signal), () => Promise.resolve());
    setImmediate(() => {
      controller.abort();
    });
    await t.rejects(waiting, { name: 'AbortError' });
  });
});

void t.test('a lock file that was removed or replaced meanwhile does not count', async (t) => {
  const file = path.join(ownDirectory(t), 'x.json');
  let attempts = 0;
  const lock = {
    tryLock: (fd: number): boolean => {
      // The first lock that is taken is one that nobody will find any more.
      if (++attempts === 1) {
        renameSync(`${file}.lock`, `${file}.lock.away`);
        writeFileSync(`${file}.lock`, '');
      }
      return nativeLock.tryLock(fd);
    },
  };
  await withFileLock(file, { ...options(1000), lock }, async () => {
    t.equal(attempts, 2);
    t.match(await refusal(withFileLock(file, options(0), () => Promise.resolve())), { code: 'STORE_LOCKED' });
  });
});

void t.test('the lock of a killed process is free again', async (t) => {
  const file = path.join(ownDirectory(t), 'x.json');
  writeFileSync(`${file}.lock`, '');
  // util-linux's flock(1), as a second opinion on what the lock is.
  const holder = spawn('flock', [`${file}.lock`, 'sh', '-c', 'echo held; exec sleep 600'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  await once(holder.stdout, 'data');
  t.match(await refusal(withFileLock(file, options(0), () => Promise.resolve())), {
    code: 'STORE_LOCKED',
    message: /is locked by process \d+ \(\w+\)$/,
  });
  const ended = once(holder, 'exit');
  // The whole group: flock(1) and the shell share the open file.
  process.kill(-(holder.pid ?? 0), 'SIGKILL');
  await ended;
  t.equal(await withFileLock(file, options(20_000), () => Promise.resolve('free')), 'free');
});

void t.test('a lock that cannot be is said', async (t) => {
  const directory = ownDirectory(t);
  const missing = await refusal(
    withFileLock(path.join(directory, 'no/x.json'), options(0), () => Promise.resolve()),
  );
  t.match(missing, {
    code: 'STORE_UNWRITABLE',
    message: /cannot be opened: no such file or directory \(ENOENT\)$/,
  });
  const lock = {
    tryLock: (): boolean => {
      throw Object.assign(new Error('lock: ENOLCK'), { errnoName: 'ENOLCK' });
    },
  };
  const refused = await refusal(
    withFileLock(path.join(directory, 'x.json'), { ...options(0), lock }, () => Promise.resolve()),
  );
  t.match(refused, {
    code: 'STORE_UNWRITABLE',
    message: /cannot be locked: no locks available \(ENOLCK\)$|cannot be locked: ENOLCK$/,
  });
});
