// @ts-check
// The TypeScript tests, through tap.

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';

import { ROOT } from '../setup/root.mjs';
import { condenser } from './condense.mjs';
import { exitOf } from './exit.mjs';
import { ONE_FAILURE, tallyOfTap } from './tally.mjs';

/**
 * @param {readonly string[]} args files and tap's options; none runs every file
 * @returns {Promise<import('./tally.mjs').Tally>}
 */
export async function testTypeScript(args) {
  const folder = path.join(ROOT, 'build/test');
  mkdirSync(folder, { recursive: true });
  const report = path.join(folder, `tap-${String(process.pid)}.tap`); // runs may overlap
  const tap = [
    path.join(ROOT, 'node_modules/tap/dist/esm/run.mjs'),
    'run',
    `--output-file=${report}`,
    ...args,
  ];
  const status = process.stdout.isTTY ? await onTerminal(tap) : await intoLog(tap);
  const tally = existsSync(report) ? tallyOfTap(readFileSync(report, 'utf8')) : undefined;
  rmSync(report, { force: true });
  if (tally === undefined || (status !== 0 && tally.failed === 0)) return ONE_FAILURE;
  return tally;
}

/** tap's live display. @param {readonly string[]} tap */
async function onTerminal(tap) {
  return exitOf(spawn(process.execPath, tap, { cwd: ROOT, stdio: 'inherit' }));
}

/** One line for each file. @param {readonly string[]} tap */
async function intoLog(tap) {
  const child = spawn(process.execPath, [...tap, '--reporter=tap'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const take = condenser((text) => process.stdout.write(text));
  createInterface({ input: child.stdout }).on('line', take);
  return exitOf(child);
}
