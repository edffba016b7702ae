// What a command that makes labs could leave behind. Other labs may be alive at the same time, so only what carries
// the process id of the command counts, and interfaces of names that only we give.

import { readdirSync, readFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { listNamespaces } from '../../src/lab/sweep.ts';

/** Namespaces, temporary files, programs and interfaces; empty when all is clean. */
export function tracesOf(pid: number): readonly string[] {
  const prefix = `ky-${pid}-`;
  return [
    ...listNamespaces().filter((name) => name.startsWith(prefix)),
    ...readdirSync(tmpdir()).filter((name) => name.startsWith(prefix)),
    ...commandLines().filter((line) => line.includes(prefix)),
    ...Object.keys(networkInterfaces()).filter((name) => /^(flannel|ky)[.-]/.test(name)),
  ];
}

function commandLines(): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')];
      } catch {
        return []; // it ended meanwhile
      }
    });
}
