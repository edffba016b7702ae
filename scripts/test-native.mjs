// @ts-check
// The C tests and a short run of every fuzz target, through ctest.
//
//     node scripts/test-native.mjs [REGEX]    all, or those whose name matches; no set-up

import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

import { say } from './setup/quiet.mjs';
import { ROOT } from './setup/root.mjs';
import { exitOf } from './test/exit.mjs';
import { closingLine, NOTHING, ONE_FAILURE, skipsOfJunit, sum, tallyOfJunit } from './test/tally.mjs';
import { TREES } from './test/trees.mjs';

/**
 * @param {{ pattern?: string, trees?: readonly import('./test/trees.mjs').Tree[] }} [selection]
 * @returns {Promise<import('./test/tally.mjs').Tally>}
 */
export async function testNative({ pattern, trees = TREES } = {}) {
  say('building the C tests');
  const build = [path.join(ROOT, 'scripts/build-native-tests.mjs'), ...trees.map(({ folder }) => folder)];
  if ((await exitOf(spawn(process.execPath, build, { stdio: 'inherit' }))) !== 0) return ONE_FAILURE;
  const tallies = [];
  for (const tree of trees) tallies.push(await testTree(tree, pattern));
  const tally = sum(tallies);
  if (tally.passed + tally.failed + tally.skipped > 0) return tally;
  process.stderr.write(`kersey: no C test is called ${pattern ?? 'anything'}\n`);
  return ONE_FAILURE;
}

/**
 * @param {import('./test/trees.mjs').Tree} tree
 * @param {string | undefined} pattern
 */
async function testTree({ folder, tests }, pattern) {
  const report = path.join(ROOT, folder, `junit-${String(process.pid)}.xml`); // runs may overlap
  const args = ['--test-dir', tests, '--output-on-failure', '--no-tests=ignore', '--output-junit', report];
  args.push('--parallel', String(availableParallelism()));
  if (pattern !== undefined) args.push('-R', pattern);
  const status = await exitOf(spawn('ctest', args, { cwd: ROOT, stdio: 'inherit' }));
  const junit = existsSync(report) ? readFileSync(report, 'utf8') : '';
  rmSync(report, { force: true });
  for (const { name, reason } of skipsOfJunit(junit)) process.stdout.write(`skipped: ${name} (${reason})\n`);
  const tally = tallyOfJunit(junit) ?? NOTHING;
  return status !== 0 && tally.failed === 0 ? ONE_FAILURE : tally;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [pattern] = process.argv.slice(2);
  const tally = await testNative(pattern === undefined ? {} : { pattern });
  process.stdout.write(`${closingLine(tally)}\n`);
  process.exitCode = tally.failed === 0 ? 0 : 1;
}
