// @ts-check
// Builds the engine without Node, its C tests and fuzz targets, under the sanitizers.
//
//     node scripts/build-native-tests.mjs [FOLDER...]    build/test, build/fuzz, or both

import process from 'node:process';

import { lockCheckout } from './setup/lock.mjs';
import { runQuietly } from './setup/quiet.mjs';
import { ROOT } from './setup/root.mjs';
import { TREES } from './test/trees.mjs';

const folders = process.argv.slice(2);
lockCheckout();
const built = TREES.filter(({ folder }) => folders.length === 0 || folders.includes(folder)).every(
  ({ folder, options, target }) =>
    runQuietly('cmake', ['-S', '.', '-B', folder, '-G', 'Ninja', ...options], { cwd: ROOT }) &&
    runQuietly('cmake', ['--build', folder, '--target', target], { cwd: ROOT }),
);
process.exit(built ? 0 : 1);
