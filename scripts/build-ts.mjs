// @ts-check
// Compiles src/ to dist/ and removes what no longer has a source.

import { chmodSync, existsSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

import { lockCheckout } from './setup/lock.mjs';
import { runQuietly } from './setup/quiet.mjs';
import { ROOT } from './setup/root.mjs';
import { isStale } from './setup/stale.mjs';

const SRC = path.join(ROOT, 'src');
const DIST = path.join(ROOT, 'dist');
/** Its time is when the last complete compilation began. */
const STAMP = path.join(DIST, '.built');
const INPUTS = ['src', 'tsconfig.json', 'tsconfig.build.json'];

/** Whether a source is newer than the last compilation. */
export function typescriptIsStale() {
  return isStale(
    STAMP,
    INPUTS.map((input) => path.join(ROOT, input)),
  );
}

/** @returns {boolean} whether dist/ is complete */
export function buildTypeScript() {
  const began = new Date();
  const tsc = path.join(ROOT, 'node_modules/typescript/bin/tsc');
  if (!runQuietly(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: ROOT })) return false;
  prune(DIST);
  for (const program of ['cli/main.js', 'cli/flanneld.js']) {
    const file = path.join(DIST, program);
    if (existsSync(file)) chmodSync(file, 0o755); // "bin" in package.json
  }
  writeFileSync(STAMP, '');
  utimesSync(STAMP, began, began);
  return true;
}

/** Deletes outputs whose source is gone. @param {string} folder */
function prune(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    const source = path.join(SRC, path.relative(DIST, file)).replace(/(\.d\.ts|\.js\.map|\.js)$/, '.ts');
    if (!existsSync(source)) rmSync(file, { recursive: true });
    else if (entry.isDirectory()) prune(file);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  lockCheckout();
  process.exit(buildTypeScript() ? 0 : 1);
}
