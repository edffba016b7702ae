// Removing what labs of killed processes left behind.
//
// Every namespace a lab makes is called `ky-<pid>-<random>-<host>`. One whose process is gone belongs to nobody: its
// remaining programs are ended and it is deleted. A pid that was given to another process keeps its leftovers until
// that process ends too.

import { readdirSync } from 'node:fs';
import { spawnSync } from 'node:child_process';

const namespaceDirectory = '/run/netns';
const pattern = /^ky-(\d+)-[0-9a-z]+-/;

/** Ends every program inside the namespace and deletes it. Synchronous: also runs while the process is exiting. */
export function deleteNamespaceSync(netns: string): void {
  const pids = spawnSync('ip', ['netns', 'pids', netns], { encoding: 'utf8' });
  // Without `ip` there is no output, and nothing that could have made the namespace either.
  if (pids.error !== undefined) return;
  for (const word of pids.stdout.split(/\s+/)) {
    const pid = Number(word);
    if (pid > 1 && pid !== process.pid) killQuietly(pid);
  }
  spawnSync('ip', ['netns', 'delete', netns], { stdio: 'ignore' });
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Already gone.
  }
}

/** Deletes the namespaces of labs whose process no longer runs; answers with their names. */
export function sweepLeftovers(): readonly string[] {
  const leftovers = listNamespaces().filter((name) => {
    const pid = pattern.exec(name)?.[1];
    return pid !== undefined && !isAlive(Number(pid));
  });
  leftovers.forEach(deleteNamespaceSync);
  return leftovers;
}

export function listNamespaces(): readonly string[] {
  try {
    return readdirSync(namespaceDirectory).sort();
  } catch {
    // The directory appears with the first namespace.
    return [];
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it runs, as somebody else.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
