import { mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';

import { isStale } from '../../../scripts/setup/stale.mjs';

t.test('what is built is stale when an input is not older', (t) => {
  const folder = t.testdir({ src: { room: { 'a.ts': '' } }, config: '', output: '' });
  const [src, config, output] = ['src', 'config', 'output'].map((name) => path.join(folder, name));
  if (src === undefined || config === undefined || output === undefined) throw new Error('unreachable');
  const room = path.join(src, 'room');
  const file = path.join(room, 'a.ts');
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
