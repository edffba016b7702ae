// Programs that are killed while nothing can be awaited have ended when the call returns.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { killSync } from '../../../src/lab/kill.ts';

t.test('a whole group is dead, whether it wants to or not', async (t) => {
  const script = 'trap "" TERM INT HUP; echo ready; while :; do sleep 60; done';
  const shell = spawn('sh', ['-c', script], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
  await once(shell.stdout, 'data');
  const pid = shell.pid ?? 0;
  killSync([-pid]);
  // This process has not come to reap it yet.
  t.match(readFileSync(`/proc/${pid}/stat`, 'utf8'), /^\d+ \(sh\) Z /);
  t.same(await once(shell, 'close'), [null, 'SIGKILL']);
});

t.test('who is gone already is not waited for', async (t) => {
  const child = spawn('true');
  await once(child, 'close');
  killSync([child.pid ?? 0, -(child.pid ?? 0)]);
  t.pass('and is no error');
});
