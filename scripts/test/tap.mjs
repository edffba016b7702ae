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

const TAP = path.join(ROOT, 'node_modules/tap/dist/esm/run.mjs');

/**
 * @param {readonly string[]} args files and tap's options; none runs every file
 * @returns {Promise<import('./tally.mjs').Tally>}
 */
export async function testTypeScript(args) {
  const { status, output } = await (process.stdout.isTTY ? onTerminal(args) : intoLog(args));
  const tally = tallyOfTap(output);
  if (tally === undefined || (status !== 0 && tally.failed === 0)) return ONE_FAILURE;
  return tally;
}

/** tap's live display. @param {readonly string[]} args */
async function onTerminal(args) {
  const folder = path.join(ROOT, 'build/test');
  mkdirSync(folder, { recursive: true });
  const report = path.join(folder, `tap-${String(process.pid)}.tap`); // runs may overlap
  const command = [TAP, 'run', `--output-file=${report}`, ...args];
  const status = await exitOf(spawn(process.execPath, command, { cwd: ROOT, stdio: 'inherit' }));
  const output = existsSync(report) ? readFileSync(report, 'utf8') : '';
  rmSync(report, { force: true });
  return { status, output };
}

/** One line for each file. @param {readonly string[]} args */
async function intoLog(args) {
  const child = spawn(process.execPath, [TAP, 'run', '--reporter=tap', ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  const condense = condenser((text) => process.stdout.write(text));
  createInterface({ input: child.stdout }).on('line', (line) => {
    output += `${line}\n`;
    condense(line);
  });
  const status = await exitOf(child);
  return { status, output };
}
