// @ts-check
// Formats every C and C++ file by .clang-format with the pinned clang-format of clang-format-node; --check only compares.

import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';

import { nativeSources } from './lint/native-includes.mjs';
import { ROOT } from './setup/root.mjs';

const clangFormat = path.join(ROOT, 'node_modules/clang-format-node/build/cli.js');
const files = nativeSources(ROOT);
if (process.argv.includes('--check')) {
  // One line a file; clang-format itself would print one for every place.
  const { status, stderr } = run(['--dry-run', '--Werror', '--ferror-limit=1'], 'pipe');
  const places = [...stderr.matchAll(/^(\S+?):(\d+):\d+: .*clang-format-violations/gm)];
  const first = new Map(places.reverse().map(([, file, line]) => [file, line]));
  for (const [file, line] of [...first].reverse()) process.stderr.write(`${file}:${line}: not formatted\n`);
  if (status !== 0 && first.size === 0) process.stderr.write(stderr);
  process.exitCode = status ?? 1;
} else {
  process.exitCode = run(['-i'], 'inherit').status ?? 1;
}

/** @param {readonly string[]} options @param {'pipe' | 'inherit'} output */
function run(options, output) {
  if (files.length === 0) return { status: 0, stderr: '' };
  const args = [clangFormat, ...options, '--style=file', ...files];
  const { status, stderr } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: output,
  });
  return { status, stderr: output === 'pipe' ? stderr : '' };
}
