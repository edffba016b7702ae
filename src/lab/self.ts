// Starting a second program of this package: `node <the module beside this one>`.
//
// Works from dist/ (JavaScript) and from src/ under a TypeScript loader (tsx, tap): there the loader was given to this
// process as options of node, and the child gets the same.

import { fileURLToPath } from 'node:url';

/** The command line that runs a module, named relative to src/ without extension: `lab/payload-main`. */
export function nodeCommand(module: string): readonly string[] {
  const here = fileURLToPath(import.meta.url);
  const extension = here.endsWith('.ts') ? '.ts' : '.js';
  const path = fileURLToPath(new URL(`../${module}${extension}`, import.meta.url));
  return [process.execPath, ...(extension === '.ts' ? process.execArgv : []), path];
}
