// A test file in a network namespace of its own.
//
// Netlink speaks of the namespace the process is in, and Node cannot change its own. So the file runs a second time
// under `unshare --net`, with the same output: what the inner run prints is the outer run's report. The namespace goes
// with the process, whatever the test leaves in it.

import { spawnSync } from 'node:child_process';
import t from 'tap';

import { skipUnlessInstalled, skipUnlessRoot } from './requirements.ts';

const marker = 'KERSEY_TEST_IN_OWN_NETNS';

/** True in the inner run. In the outer run the inner one is over when this returns, or it was skipped for a reason. */
export function inOwnNetns(file: string): boolean {
  if (process.env[marker] === '1') return true;
  const reason = skipUnlessRoot() || skipUnlessInstalled('unshare');
  if (reason !== false) {
    t.plan(0, reason);
    return false;
  }
  const argv = ['--net', process.execPath, ...process.execArgv, file];
  const { status, error } = spawnSync('unshare', argv, {
    stdio: 'inherit',
    env: { ...process.env, [marker]: '1' },
  });
  if (error !== undefined) throw error;
  process.exit(status ?? 1);
}
