import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t from 'tap';

import { isStale } from '../../../scripts/setup/stale.mjs';

t.test('what is built is stale when an input is not older', (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'kersey-stale-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true });
  });
  const [src, room] = [path.join(folder, 'src'), path.join(folder, 'src/room')];
  const [file, config, output] = [
    path.join(room, 'a.ts'),
    path.join(folder, 'config'),
    path.join(folder, 'output'),
  ];
  mkdirSync(room, { recursive: true });
  for (const name of [file, config, output]) writeFileSync(name, '');
  const age = (name: string, seconds: number): void => {
    utimesSync(name, seconds, seconds);
  };
  for (const input of [file, room, src, config]) age(input, 100);
  const stale = (): boolean => isStale(output, [src, config, path.join(folder, 'not-there')]);

  age(output, 101);
  t.notOk(stale(), 'everything is older');
  age(output, 100);
  t.ok(stale(), 'the same instant proves nothing');
  age(output, 150);
  age(file, 200);
  t.ok(stale(), 'a changed file below a folder');
  age(output, 250);
  t.notOk(stale());
  rmSync(file);
  t.ok(stale(), 'a deleted file');
  age(room, 100);
  t.notOk(stale());
  mkdirSync(path.join(src, 'another'));
  t.ok(stale(), 'a new folder');
  rmSync(output);
  t.ok(isStale(output, []), 'nothing is built yet');
  writeFileSync(output, '');
  t.notOk(isStale(output, []));
  t.end();
});
