import t from 'tap';

import { KerseyError } from '../../../src/errors.ts';
import { Notices } from '../../../src/node/notices.ts';
import type { Log } from '../../../src/observe/log.ts';

function recorder(): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const at = (level: string) => (message: string) => {
    lines.push(`${level} ${message}`);
  };
  return { log: { info: at('info'), warn: at('warn'), error: at('error') }, lines };
}

t.test('a problem is told when it begins and when it is over', async (t) => {
  const { log, lines } = recorder();
  const notices = new Notices(log);
  const problem = new KerseyError('STORE_MISSING', 'x', { remedy: 'y' });
  notices.replace([problem], ['odd']);
  notices.replace([new KerseyError('STORE_MISSING', 'x', { remedy: 'y' })], ['odd']);
  t.equal(notices.problems.length, 1);
  t.same(notices.warnings, ['odd']);
  notices.replace([], []);
  t.same(lines, [
    'error STORE_MISSING: x; y',
    'warn odd',
    'info over: STORE_MISSING: x; y',
    'info over: odd',
  ]);
  t.same(notices.problems, []);
});

t.test('a repair that has to be done again and again is told once a minute', async (t) => {
  const { log, lines } = recorder();
  const notices = new Notices(log);
  for (let second = 0; second < 150; second++) notices.repaired('address', 'removed it', second * 1000);
  notices.repaired('route', 'put it back', 0);
  t.same(lines, [
    'warn repaired: removed it',
    'warn repaired: removed it (and 59 times since it was last said)',
    'warn repaired: removed it (and 59 times since it was last said)',
    'warn repaired: put it back',
  ]);
});
