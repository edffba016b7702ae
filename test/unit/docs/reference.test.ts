// The generated pages say what the code says.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { referenceFolder, referencePages } from '../../../scripts/reference.ts';
import { features } from '../../../src/engine/feature.ts';
import { native } from '../../../src/native/loader.ts';

for (const [file, text] of referencePages()) {
  t.test(`docs/reference/${file} is fresh`, (t) => {
    t.equal(readFileSync(path.join(referenceFolder, file), 'utf8'), text, 'run `npm run docs`');
    t.end();
  });
}

t.test('TypeScript knows the features that C has', (t) => {
  t.same(
    native()
      .catalogue()
      .features.map((feature) => feature.name),
    features,
  );
  t.end();
});
