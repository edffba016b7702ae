// @ts-check
// node_modules, as package-lock.json says.

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { npmFolder, ownHeaders } from './node.mjs';
import { runQuietly, say } from './quiet.mjs';
import { ROOT } from './root.mjs';

const MODULES = path.join(ROOT, 'node_modules');

/** @typedef {{ version?: string, integrity?: string, optional?: boolean, peer?: boolean }} Locked */

/**
 * Whether what npm noted down as installed is what the lock file asks for. Compared by content: a fresh
 * clone or a change of branch touches the lock file's time and nothing else.
 */
export function modulesMissing() {
  const wanted = packagesOf(path.join(ROOT, 'package-lock.json'));
  const installed = packagesOf(path.join(MODULES, '.package-lock.json'));
  if (wanted === undefined || installed === undefined) return true;
  return Object.entries(wanted).some(([place, want]) => {
    const have = installed[place];
    if (place === '') return false; // the project itself
    if (have === undefined) return want.optional !== true; // optional: another platform's binary
    return have.version !== want.version || have.integrity !== want.integrity;
  });
}

/**
 * @param {string} file
 * @returns {Record<string, Locked> | undefined}
 */
function packagesOf(file) {
  try {
    const lock = /** @type {{ packages: Record<string, Locked> }} */ (JSON.parse(readFileSync(file, 'utf8')));
    return lock.packages;
  } catch {
    return undefined; // not there, or cut short by an interrupted install
  }
}

/** @returns {boolean} whether node_modules is complete now */
export function installModules() {
  say('npm ci (one to two minutes the first time)');
  // No install scripts: our own `prepare` would build what set-up builds next, and raw-socket must not be
  // able to fail the whole. The two that are needed follow by name: an executable bit and a binary's place.
  return npm(['ci', '--ignore-scripts']) && npm(['rebuild', 'clang-format-node', 'esbuild']);
}

/** raw-socket, the tests' independent sender of ICMP, is an addon of its own. */
export function rawSocketMissing() {
  return !existsSync(path.join(MODULES, 'raw-socket/build/Release/raw.node'));
}

/** Tries to build it. Without it the tests that need it skip and say so. */
export function buildRawSocket() {
  say('building raw-socket for the tests');
  const headers = ownHeaders();
  const env = headers === undefined ? process.env : { ...process.env, npm_config_nodedir: headers };
  if (!npm(['rebuild', 'raw-socket'], env))
    say('raw-socket does not build here; tests that need it will skip');
  return true;
}

/**
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, quiet?: boolean }} [options]
 */
function npm(args, options) {
  const folder = npmFolder();
  const program = folder === undefined ? ['npm'] : [process.execPath, path.join(folder, 'bin/npm-cli.js')];
  const [command, ...rest] = [...program, ...args, '--no-audit', '--no-fund', '--loglevel=error'];
  return runQuietly(command, rest, { cwd: ROOT, ...options });
}
