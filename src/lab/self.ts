// Starting a second program of this package: `node <the module beside this one>`.
//
// Works from dist/ (JavaScript) and from src/ in tests and development, where tsx, a development dependency, runs it:
// it starts several times faster than the loader of the test runner.

import { fileURLToPath } from 'node:url';

/** The command line that runs a module, named relative to src/ without extension: `lab/payload-main`. */
export function nodeCommand(module: string): readonly string[] {
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
  const path = fileURLToPath(new URL(`../${module}${extension}`, import.meta.url));
  const loader = extension === '.ts' ? ['--import', import.meta.resolve('tsx')] : [];
  return [process.execPath, ...loader, path];
}
