// @ts-check
// When does something built have to be built again? When an input is not older than it.
//
// A folder counts as an input with its own time of change, so a file that was deleted or renamed is noticed.
// Builders give their result the time at which they began: what changed meanwhile is seen next time.

import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';

/**
 * @param {string} output
 * @param {readonly string[]} inputs files and folders; a missing one is no input
 */
export function isStale(output, inputs) {
  const built = changed(output);
  return built === undefined || inputs.some((input) => newest(input) >= built);
}

/**
 * @param {string} input
 * @returns {number} milliseconds, or -Infinity when there is nothing
 */
function newest(input) {
  const own = changed(input);
  if (own === undefined) return -Infinity;
  let latest = own;
  if (statSync(input).isDirectory()) {
    for (const name of readdirSync(input)) latest = Math.max(latest, newest(path.join(input, name)));
  }
  return latest;
}

/** @param {string} file */
function changed(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs;
}
