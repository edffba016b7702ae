import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { KerseyError } from '../errors.ts';
import type { Native } from './binding.ts';

const ROOT = path.join(path.dirname(fileURLToPath(import.meta.url)), '../..');

/** Where the library may lie, in the order in which it is looked for. */
function places(): string[] {
  const named = process.env['KERSEY_NATIVE'];
  if (named !== undefined && named !== '') return [named];
  return [
    path.join(ROOT, 'build/Release/kersey.node'),
    path.join(ROOT, `prebuilds/linux-${process.arch}.node`),
    path.join(ROOT, `prebuilds/linux-${process.arch}-musl.node`),
  ];
}

let loaded: Native | undefined;

/** The native library, loaded at the first call. */
export function native(): Native {
  loaded ??= load();
  return loaded;
}

function load(): Native {
  const require = createRequire(import.meta.url);
  const tried: string[] = [];
  let cause: unknown;
  for (const file of places()) {
    tried.push(file);
    if (!existsSync(file)) continue;
    try {
      return require(file) as Native;
    } catch (error) {
      cause = error;
    }
  }
  throw new KerseyError(
    'NATIVE_MISSING',
    `the native library was not found or does not load (tried ${tried.join(', ')})`,
    {
      remedy: `run: cd ${ROOT} && npm run build:native`,
      cause,
    },
  );
}
