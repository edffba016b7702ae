// @ts-check
// npm run check: everything that is judged without running Kersey. All of it runs, so that one run shows all.

import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';

import { generatedIsFresh } from './generate-proto.mjs';
import { checkNativeIncludes } from './lint/native-includes.mjs';
import { ROOT } from './setup/root.mjs';

/** @param {string} script a path from the root @param {readonly string[]} args */
function node(script, ...args) {
  const command = [path.join(ROOT, script), ...args];
  return spawnSync(process.execPath, command, { cwd: ROOT, stdio: 'inherit' }).status === 0;
}

function nativeIncludes() {
  const refused = checkNativeIncludes(ROOT);
  for (const line of refused) process.stderr.write(`${line}\n`);
  return refused.length === 0;
}

if (!node('scripts/setup.mjs', 'check')) process.exit(1);

/** @type {readonly [string, () => boolean][]} */
const checks = [
  ['types', () => node('node_modules/typescript/bin/tsc', '--noEmit')],
  ['lint', () => node('node_modules/eslint/bin/eslint.js', '--max-warnings=0', '.')],
  ['includes in native/', nativeIncludes],
  ['code generated from proto/', generatedIsFresh],
  ['format', () => node('node_modules/prettier/bin/prettier.cjs', '--check', '--log-level=warn', '.')],
  ['format of C', () => node('scripts/format-c.mjs', '--check')],
];
const failed = checks.filter(([name, check]) => {
  process.stdout.write(`check: ${name}\n`);
  return !check();
});
if (failed.length > 0) {
  const hint = failed.some(([name]) => name.startsWith('format')) ? '; npm run format repairs formats' : '';
  process.stdout.write(`check: failed: ${failed.map(([name]) => name).join(', ')}${hint}\n`);
  process.exitCode = 1;
}
