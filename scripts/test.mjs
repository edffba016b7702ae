// @ts-check
// npm test: set-up, then the C tests, then the TypeScript tests. The last line is `N passed, N failed`.
//
//     npm test                               everything
//     npm test -- test/unit/net              one file or folder of TypeScript tests; tap's options pass through
//     npm test -- native/test/gro_test.c     the C tests of that name; those of test/platform too

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { ROOT } from './setup/root.mjs';
import { testNative } from './test-native.mjs';
import { exitOf } from './test/exit.mjs';
import { closingLine, ONE_FAILURE, sum } from './test/tally.mjs';
import { testTypeScript } from './test/tap.mjs';

const args = process.argv.slice(2);
const files = args.filter((arg) => !arg.startsWith('-'));
for (const file of files) {
  // tap passes over a file that is not there, and would report success.
  if (!/[*{]/.test(file) && !existsSync(path.join(ROOT, file))) {
    process.stderr.write(`kersey: no test '${file}'; give a file or folder below test/, or a C test\n`);
    process.exit(2);
  }
}
const native = files.filter((file) => file.endsWith('.c'));
const rest = args.filter((arg) => !native.includes(arg));

const tally = sum(await run());
process.stdout.write(`${closingLine(tally)}\n`);
process.exitCode = tally.failed === 0 ? 0 : 1;

async function run() {
  const typescript = files.length === 0 || files.length > native.length;
  const setup = [path.join(ROOT, 'scripts/setup.mjs'), typescript ? 'dev' : 'native'];
  if ((await exitOf(spawn(process.execPath, setup, { stdio: 'inherit' }))) !== 0) {
    process.stdout.write('set-up failed, see above; no test was run\n');
    return [ONE_FAILURE];
  }
  const tallies = [];
  if (files.length === 0) tallies.push(await testNative());
  else if (native.length > 0) tallies.push(await testNative(patternOf(native)));
  if (typescript) tallies.push(await testTypeScript(rest));
  return tallies;
}

/**
 * Matches the C tests made from these files. A test bears its file's name, in some folders after a prefix.
 * @param {readonly string[]} sources
 */
function patternOf(sources) {
  return `(^|[.])(${sources.map((file) => path.parse(file).name).join('|')})$`;
}
