// @ts-check
// Builds the engine and its addon into build/Release/kersey.node.
//
//     node scripts/build-native.mjs            node-gyp, npm's own, with the headers of an installed Node
//     node scripts/build-native.mjs --cmake    cmake-js, which takes headers from its package node-api-headers
//
// Neither downloads anything. Without headers the first falls back to the second. Nothing is printed but a
// failing build's whole output. Objects are kept, so a second build compiles only what changed.

import { copyFileSync, existsSync, mkdirSync, renameSync, utimesSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

import { lockCheckout } from './setup/lock.mjs';
import { nodeHeaders, npmFolder } from './setup/node.mjs';
import { runQuietly } from './setup/quiet.mjs';
import { ROOT } from './setup/root.mjs';
import { isStale } from './setup/stale.mjs';

const ADDON = path.join(ROOT, 'build/Release/kersey.node');
/** What the addon is made of; native/test and native/fuzz are not in it. */
const INPUTS = [
  'binding.gyp',
  'CMakeLists.txt',
  'native/sources.gypi',
  'native/addon',
  'native/bench',
  'native/engine',
  'native/system',
];

/** Whether a source is newer than the addon. */
export function nativeIsStale() {
  return isStale(
    ADDON,
    INPUTS.map((input) => path.join(ROOT, input)),
  );
}

/**
 * @param {{ cmake?: boolean }} [options]
 * @returns {boolean} whether the addon is built
 */
export function buildNative({ cmake = false } = {}) {
  const began = new Date();
  const headers = nodeHeaders();
  const built = cmake || headers === undefined ? withCmakeJs() : withNodeGyp(headers);
  if (!built) return false;
  if (!existsSync(ADDON)) {
    process.stderr.write(`kersey: the build made no ${ADDON}\n`);
    return false;
  }
  utimesSync(ADDON, began, began); // see stale.mjs
  return true;
}

/** @param {string} headers */
function withNodeGyp(headers) {
  const npm = npmFolder();
  const nodeGyp = npm === undefined ? undefined : path.join(npm, 'node_modules/node-gyp/bin/node-gyp.js');
  if (nodeGyp === undefined || !existsSync(nodeGyp)) return withCmakeJs();
  // configure and build, never rebuild: that would delete build/, where the C tests are too.
  const args = [nodeGyp, 'configure', 'build', '--release', '--jobs=max', `--nodedir=${headers}`];
  return runQuietly(process.execPath, args, { cwd: ROOT });
}

function withCmakeJs() {
  const cmakeJs = path.join(ROOT, 'node_modules/cmake-js/bin/cmake-js');
  if (!existsSync(cmakeJs)) {
    process.stderr.write(
      'kersey: no headers of Node and no cmake-js to build with; run: npm install cmake-js\n',
    );
    return false;
  }
  const out = path.join(ROOT, 'build/cmake');
  const args = [cmakeJs, 'build', '--config', 'Release', '--out', out, '--target', 'kersey'];
  if (!runQuietly(process.execPath, args, { cwd: ROOT })) return false;
  // Renamed into place: a process that has the old file loaded keeps it.
  mkdirSync(path.dirname(ADDON), { recursive: true });
  copyFileSync(path.join(out, 'Release/kersey.node'), `${ADDON}.new`);
  renameSync(`${ADDON}.new`, ADDON);
  return true;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  lockCheckout();
  process.exit(buildNative({ cmake: process.argv.includes('--cmake') }) ? 0 : 1);
}
