import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t from 'tap';

import { makeDirectory } from '../../src/directory.ts';

const root = mkdtempSync(path.join(tmpdir(), 'kersey-directory-'));
t.teardown(() => {
  rmSync(root, { recursive: true, force: true });
});

t.test('with all above it, and again', async (t) => {
  const directory = path.join(root, 'a', 'b', 'c');
  makeDirectory(directory);
  makeDirectory(directory);
  t.ok(statSync(directory).isDirectory());
});

t.test('where none can be made it says why, at once', async (t) => {
  writeFileSync(path.join(root, 'file'), '');
  t.throws(
    () => {
      makeDirectory(path.join(root, 'file', 'below'));
    },
    { code: 'ENOTDIR' },
  );
  t.throws(
    () => {
      makeDirectory('/proc/kersey/below');
    },
    { code: 'ENOENT' },
  );
});
