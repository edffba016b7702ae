// @ts-check
// Where the running Node keeps its headers, and where npm is.

import { existsSync, realpathSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

/** Two up from bin/node: the root of the installation. */
const INSTALLATION = path.resolve(realpathSync(process.execPath), '../..');

/**
 * The folder to give node-gyp as --nodedir. Node-API is the same in every Node that we run on, so the headers
 * under /usr serve a Node from elsewhere too.
 * @returns {string | undefined}
 */
export function nodeHeaders() {
  return [INSTALLATION, '/usr'].find(hasHeaders);
}

/** As nodeHeaders, for an addon that uses V8 itself: only this very Node's headers will do. */
export function ownHeaders() {
  return hasHeaders(INSTALLATION) ? INSTALLATION : undefined;
}

/** @param {string} folder */
function hasHeaders(folder) {
  // node-gyp reads common.gypi beside the headers.
  return ['node_api.h', 'common.gypi'].every((file) => existsSync(path.join(folder, 'include/node', file)));
}

/**
 * The folder of npm itself: of the npm that runs us, else of this Node's own, else of the one on PATH.
 * @returns {string | undefined}
 */
export function npmFolder() {
  const onPath = (process.env['PATH'] ?? '').split(':').map((folder) => path.join(folder, 'npm'));
  const found = [
    process.env['npm_execpath'] ?? '',
    path.join(INSTALLATION, 'lib/node_modules/npm/bin/npm-cli.js'),
    ...onPath,
  ]
    .filter((file) => file !== '' && existsSync(file))
    .map((file) => realpathSync(file))
    .find((file) => path.basename(file) === 'npm-cli.js');
  return found === undefined ? undefined : path.resolve(found, '../..');
}
