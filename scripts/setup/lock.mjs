// @ts-check
// One build of a checkout at a time.
//
// flock(1) holds a lock on the checkout's folder while it runs us again; the kernel lets go of it when that
// process ends, however it ends, so there is no stale lock to clean up. The lock does not reach children
// (`-o`), or a program left running by a build would hold it.

import { spawnSync } from 'node:child_process';
import process from 'node:process';

import { say } from './quiet.mjs';
import { ROOT } from './root.mjs';

const HELD = 'KERSEY_BUILD_LOCK';
/** What flock exits with when another process has the lock; no program of ours uses it. */
const BUSY = 75;

/**
 * Returns with the lock held. The first time it runs this same script under the lock and exits with its
 * status, so call it before doing anything. Without flock(1) it returns at once: one user, no lock needed.
 */
export function lockCheckout() {
  if (process.env[HELD] === ROOT) return;
  const command = ['-o', ROOT, process.execPath, ...process.argv.slice(1)];
  const env = { ...process.env, [HELD]: ROOT };
  let { status, error } = spawnSync('flock', ['-n', '-E', String(BUSY), ...command], {
    env,
    stdio: 'inherit',
  });
  if (error !== undefined) return;
  if (status === BUSY) {
    say('waiting for another build of this checkout');
    ({ status } = spawnSync('flock', command, { env, stdio: 'inherit' }));
  }
  process.exit(status ?? 1);
}
