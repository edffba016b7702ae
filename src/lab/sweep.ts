// Removing what labs of killed processes left behind.
//
// Every namespace a lab makes is called `ky-<pid>-<random>-<host>`, its directory alike. What belongs to a process that
// is gone belongs to nobody: programs in such a namespace are ended, the namespace and the directory deleted. A pid that
// was given to another process keeps its leftovers until that process ends too.

import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { killSync } from './kill.ts';

const namespaceDirectory = '/run/netns';
const pattern = /^ky-(\d+)-[0-9a-z]+-/;

/** Ends every program inside the namespace and deletes it. Synchronous: also runs while the process is exiting. */
export function deleteNamespaceSync(netns: string): void {
  const pids = spawnSync('ip', ['netns', 'pids', netns], { encoding: 'utf8' });
  // Without `ip` there is no output, and nothing that could have made the namespace either.
  if (pids.error !== undefined) return;
  killSync(
    pids.stdout
      .split(/\s+/)
      .map(Number)
      .filter((pid) => pid > 1 && pid !== process.pid),
  );
  spawnSync('ip', ['netns', 'delete', netns], { stdio: 'ignore' });
}

/** Deletes what labs left whose process no longer runs; answers with the names of the namespaces. */
export function sweepLeftovers(): readonly string[] {
  const leftovers = listNamespaces().filter(isOrphan);
  leftovers.forEach(deleteNamespaceSync);
  for (const name of readdirSync(tmpdir()).filter(isOrphan)) {
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
  return leftovers;
}

function isOrphan(name: string): boolean {
  const pid = pattern.exec(name)?.[1];
  return pid !== undefined && !isAlive(Number(pid));
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
