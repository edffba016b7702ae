// Making a directory with those above it.
//
// Not by mkdir's `recursive`: Node (20) then tries for ever below /proc, where mkdir says ENOENT though the parent is
// there.

import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { errnoName } from './errors.ts';

/** Throws what mkdir(2) says. */
export function makeDirectory(directory: string): void {
  const missing: string[] = [];
  for (let at = path.resolve(directory); !existsSync(at); at = path.dirname(at)) missing.push(at);
  for (const each of missing.reverse()) {
    try {
      mkdirSync(each, { mode: 0o755 });
    } catch (error) {
      // Another process was faster.
      if (errnoName(error) !== 'EEXIST') throw error;
    }
  }
}
