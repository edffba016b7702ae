// Stopping a program in its tracks. A signal is sent in no time, but each thread stops only when it next runs.

import { readFileSync, readdirSync } from 'node:fs';
import { awaitCondition } from '../../src/lab/condition.ts';

/** Resolves when no thread of it runs any more. SIGCONT lets it go on. */
export async function freeze(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  await awaitCondition(`process ${pid} to stop`, () =>
    readdirSync(`/proc/${pid}/task`).every((thread) => isStopped(`/proc/${pid}/task/${thread}/stat`)),
  );
}

/** proc_pid_stat(5): "tid (comm) state ...", where comm may hold anything. */
function isStopped(file: string): boolean {
  try {
    const stat = readFileSync(file, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
  } catch {
    return true; // it ended meanwhile
  }
}
