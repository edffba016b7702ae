// Ending programs when nothing can be awaited any more, because this process is ending itself.

import { readFileSync } from 'node:fs';

/** A program in the middle of a system call ends when that does; longer than this nobody waits, in milliseconds. */
const patience = 2000;
const pause = 2;

const clock = new Int32Array(new SharedArrayBuffer(4));

/**
 * Kills processes, or process groups (negative numbers), and blocks until none of them runs any more: what they held,
 * a namespace for one, is free then. Of a group the leader is waited for.
 */
export function killSync(pids: readonly number[]): void {
  for (const pid of pids) killQuietly(pid);
  const end = performance.now() + patience;
  while (pids.some((pid) => isRunning(Math.abs(pid))) && performance.now() < end) {
    Atomics.wait(clock, 0, 0, pause);
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Already gone.
  }
}

/** A zombie has ended; our own children stay zombies as long as this process does not come to reap them. */
function isRunning(pid: number): boolean {
  try {
    // proc_pid_stat(5): "pid (comm) state ...", where comm may hold anything.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}
