// @ts-check
// The build trees of the C tests. A fuzz target needs clang's libFuzzer and everything it calls instrumented,
// so it cannot share a tree with the tests, which are compiled by the compiler that compiles the addon.

/**
 * @typedef {object} Tree
 * @property {string} sources the folder whose tests it runs; '' is all of them
 * @property {string} folder of the build
 * @property {readonly string[]} options for cmake
 * @property {string} target what is built in it
 * @property {string} tests where ctest is run
 */

/** @type {readonly Tree[]} */
export const TREES = [
  {
    sources: '',
    folder: 'build/test',
    options: ['-DKERSEY_SANITIZE=ON'],
    target: 'all',
    tests: 'build/test',
  },
  {
    sources: 'native/fuzz',
    folder: 'build/fuzz',
    options: [
      '-DKERSEY_SANITIZE=ON',
      '-DKERSEY_FUZZ=ON',
      '-DCMAKE_C_COMPILER=clang',
      '-DCMAKE_CXX_COMPILER=clang++',
    ],
    // Only this folder: the tests that are not fuzz targets run in the other tree.
    target: 'native/fuzz/all',
    tests: 'build/fuzz/native/fuzz',
  },
];
