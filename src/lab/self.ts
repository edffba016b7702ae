// Starting a second program of this package: `node <the module beside this one>`.
//
// From dist/ that is plain JavaScript. In tests and development we run from src/; then the compiled module is taken
// when nothing in src/ is newer, because it starts several times faster, and else tsx, a development dependency.

import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const fromSource = import.meta.url.endsWith('.ts');

/** The command line that runs a module, named relative to src/ without extension: `lab/payload-main`. */
export function nodeCommand(module: string): readonly string[] {
  const root = fileURLToPath(new URL(fromSource ? '../../' : '../', import.meta.url));
  if (!fromSource) return [process.execPath, join(root, `${module}.js`)];
  const compiled = join(root, 'dist', `${module}.js`);
  if (isFresh(compiled, join(root, 'src'))) return [process.execPath, compiled];
  return sourceCommand(join(root, 'src', `${module}.ts`));
}

/** The command line that runs a TypeScript file as it is. */
export function sourceCommand(path: string): readonly string[] {
  return [process.execPath, '--import', import.meta.resolve('tsx'), path];
}

function isFresh(compiled: string, sources: string): boolean {
  const made = statSync(compiled, { throwIfNoEntry: false })?.mtimeMs;
  if (made === undefined) return false;
  const files = readdirSync(sources, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  return files.every(
    (name) => (statSync(join(sources, name), { throwIfNoEntry: false })?.mtimeMs ?? 0) <= made,
  );
}
