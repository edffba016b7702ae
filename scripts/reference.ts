// Writes docs/reference/*.md from the lists that the code owns: error codes, drop reasons, counters, features.
// `npm run docs`; test/unit/docs/reference.test.ts fails when a page is stale.

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { errorCodes } from '../src/errors.ts';
import type { NamedText } from '../src/native/binding.ts';
import { native } from '../src/native/loader.ts';

const GENERATED = '<!-- Written by `npm run docs` from the code. Do not edit. -->';

export const referenceFolder = path.join(path.dirname(fileURLToPath(import.meta.url)), '../docs/reference');

function table(head: readonly [string, string], rows: readonly NamedText[]): string {
  const lines = rows.map(({ name, text }) => `| \`${name}\` | ${text} |`);
  return [`| ${head[0]} | ${head[1]} |`, '| --- | --- |', ...lines].join('\n');
}

function page(title: string, introduction: string, body: string): string {
  return `${GENERATED}\n\n# ${title}\n\n${introduction}\n\n${body}\n`;
}

/** Every page by its file name. */
export function referencePages(): ReadonlyMap<string, string> {
  const { drops, counters, features } = native().catalogue();
  const errors = errorCodes.map(({ code, meaning }) => ({ name: code, text: meaning }));
  return new Map([
    [
      'errors.md',
      page(
        'Error codes',
        'A failure is one line, `kersey: CODE: what is wrong; what to do`, and exit status 1 (2 for `USAGE`).\nMatch on the code: it does not change.',
        table(['code', 'meaning'], errors),
      ),
    ],
    [
      'drops.md',
      page(
        'Drop reasons',
        'Every packet that is not forwarded is counted under one of these. `tx` is from this host into the network, `rx` the other way.\n`kersey status` shows those that are not zero.',
        table(['reason', 'meaning'], drops),
      ),
    ],
    [
      'counters.md',
      page(
        'Counters',
        'What `kersey status -o json` counts besides drops.',
        table(['counter', 'meaning'], counters),
      ),
    ],
    [
      'features.md',
      page(
        'Kernel features',
        'Each is tried at start, used where it works, and can be switched off with `--disable NAME`.\nAll switched off, the engine moves one packet a system call.',
        table(['feature', 'what it does'], features),
      ),
    ],
  ]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [file, text] of referencePages()) writeFileSync(path.join(referenceFolder, file), text);
}
