// @ts-check
// Builds the engine without Node, its C tests and fuzz targets, under the sanitizers, into build/test. There a
// fuzz target replays seeds and mutations of them; native/fuzz/run.sh builds and runs it with libFuzzer.

import process from 'node:process';

import { lockCheckout } from './setup/lock.mjs';
import { runQuietly } from './setup/quiet.mjs';
import { ROOT } from './setup/root.mjs';

lockCheckout();
const configure = ['-S', '.', '-B', 'build/test', '-G', 'Ninja', '-DKERSEY_SANITIZE=ON'];
const built =
  runQuietly('cmake', configure, { cwd: ROOT }) &&
  runQuietly('cmake', ['--build', 'build/test'], { cwd: ROOT });
process.exit(built ? 0 : 1);
