// @ts-check
// Brings a checkout from any state to the one a command needs, and is silent when it is there already.
//
//     node scripts/setup.mjs runtime    to run: Debian packages, node_modules, the engine, dist/      (default)
//     node scripts/setup.mjs bench      to measure: the same and what the benches use
//     node scripts/setup.mjs dev        to test: as runtime, and what the tests use
//     node scripts/setup.mjs native     for the C tests: Debian packages only
//     node scripts/setup.mjs fuzz       for libFuzzer: Debian packages only
//     node scripts/setup.mjs check      to check types, lint and formats: node_modules, and protoc
//     node scripts/setup.mjs prepare    what npm runs after an install by hand: builds, never calls apt or npm
//
// Everything is decided by looking (is the program there? is a source newer?), nothing by remembering, so it
// can be stopped anywhere and run again. Two at a time wait for each other; see setup/lock.mjs. It uses no
// package, because it is what installs them.

import { existsSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { buildNative, nativeIsStale } from './build-native.mjs';
import { buildTypeScript, typescriptIsStale } from './build-ts.mjs';
import { lockCheckout } from './setup/lock.mjs';
import { buildRawSocket, installModules, modulesMissing, rawSocketMissing } from './setup/modules.mjs';
import { installPackages, missingPackages } from './setup/packages.mjs';
import { say } from './setup/quiet.mjs';
import { ROOT } from './setup/root.mjs';

/** @typedef {{ purposes: import('./setup/packages.mjs').Purpose[], modules: boolean, oracle: boolean, build: boolean }} Mode */

/** @type {Readonly<Record<string, Mode>>} */
const MODES = {
  runtime: { purposes: ['build', 'demo'], modules: true, oracle: false, build: true },
  bench: { purposes: ['build', 'demo', 'bench'], modules: true, oracle: false, build: true },
  dev: { purposes: ['build', 'demo', 'test'], modules: true, oracle: true, build: true },
  native: { purposes: ['build', 'test'], modules: false, oracle: false, build: false },
  fuzz: { purposes: ['build', 'test', 'fuzz'], modules: false, oracle: false, build: false },
  check: { purposes: ['check'], modules: true, oracle: false, build: false },
  prepare: { purposes: [], modules: false, oracle: false, build: true },
};

const name = process.argv[2] ?? 'runtime';
const mode = MODES[name];
if (mode === undefined) {
  process.stderr.write(
    `kersey: set-up knows no mode '${name}'; use one of: ${Object.keys(MODES).join(', ')}\n`,
  );
  process.exit(2);
}
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`kersey: Node ${process.versions.node} is too old; install Node 20.19 or newer\n`);
  process.exit(1);
}
if (name === 'prepare' && !existsSync(path.join(ROOT, 'node_modules/typescript'))) {
  say('nothing is built: the packages to build with are not installed');
  process.exit(0);
}

/** The steps that are needed now, in order. Each returns whether it succeeded. @type {(() => boolean)[]} */
const steps = [];
const missing = missingPackages(mode.purposes);
if (missing.length > 0) steps.push(() => installPackages(missing));
if (mode.modules && modulesMissing()) steps.push(installModules);
if (mode.oracle && rawSocketMissing()) steps.push(buildRawSocket);
if (mode.build && nativeIsStale()) {
  steps.push(() => {
    say('building the engine');
    return buildNative();
  });
}
if (mode.build && typescriptIsStale()) {
  steps.push(() => {
    say('compiling TypeScript');
    return buildTypeScript();
  });
}
if (steps.length > 0) {
  lockCheckout(); // runs this file again from its top once the lock is held
  if (!steps.every((step) => step())) process.exit(1);
}
