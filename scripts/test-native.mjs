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
import { closingLine, ONE_FAILURE, skipsOfJunit, tallyOfJunit } from './test/tally.mjs';

/**
 * @param {string} [pattern]
 * @returns {Promise<import('./test/tally.mjs').Tally>}
 */
export async function testNative(pattern) {
  say('building the C tests');
  const build = [path.join(ROOT, 'scripts/build-native-tests.mjs')];
  if ((await exitOf(spawn(process.execPath, build, { stdio: 'inherit' }))) !== 0) return ONE_FAILURE;
  const report = path.join(ROOT, `build/test/junit-${String(process.pid)}.xml`); // runs may overlap
  const args = [
    '--test-dir',
    'build/test',
    '--output-on-failure',
    '--no-tests=error',
    '--output-junit',
    report,
  ];
  args.push('--parallel', String(availableParallelism()));
  if (pattern !== undefined) args.push('-R', pattern);
  const status = await exitOf(spawn('ctest', args, { cwd: ROOT, stdio: 'inherit' }));
  const junit = existsSync(report) ? readFileSync(report, 'utf8') : '';
  rmSync(report, { force: true });
  for (const { name, reason } of skipsOfJunit(junit)) process.stdout.write(`skipped: ${name} (${reason})\n`);
  const tally = tallyOfJunit(junit);
  if (tally === undefined || (status !== 0 && tally.failed === 0)) return ONE_FAILURE;
  return tally;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const tally = await testNative(process.argv[2]);
  process.stdout.write(`${closingLine(tally)}\n`);
  process.exitCode = tally.failed === 0 ? 0 : 1;
}
