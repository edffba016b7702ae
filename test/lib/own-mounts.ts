// A test file with mounts of its own, as own-netns.ts has it for the network: the file runs a second time under
// `unshare --mount`, and what it mounts goes with the process.

import { spawnSync } from 'node:child_process';
import t from 'tap';

import { skipUnlessInstalled, skipUnlessRoot } from './requirements.ts';

const marker = 'KERSEY_TEST_IN_OWN_MOUNTS';

/** True in the inner run. In the outer run the inner one is over when this returns, or it was skipped for a reason. */
export function inOwnMounts(file: string): boolean {
  if (process.env[marker] === '1') return true;
  const probe = spawnSync('unshare', ['--mount', 'true'], { encoding: 'utf8' });
  const reason =
    skipUnlessRoot() ||
    skipUnlessInstalled('unshare', 'mount') ||
    (probe.status !== 0 && `no mounts of our own: ${probe.stderr.trim()}`);
  if (reason !== false) {
    t.plan(0, reason);
    return false;
  }
  const argv = ['--mount', '--propagation', 'private', process.execPath, ...process.execArgv, file];
  const { status, error } = spawnSync('unshare', argv, {
    stdio: 'inherit',
    env: { ...process.env, [marker]: '1' },
  });
  if (error !== undefined) throw error;
  process.exit(status ?? 1);
}
