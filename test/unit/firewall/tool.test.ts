// Programs that the firewall is made with: what they say, and that nothing stays when they are not there.

import t from 'tap';
import { lastWords, runTool } from '../../../src/firewall/tool.ts';

/** What keeps the process from ending. */
const timers = (): number => process.getActiveResourcesInfo().filter((what) => what === 'Timeout').length;

t.test('a program that is not installed holds nobody up', async (t) => {
  const before = timers();
  await t.rejects(runTool(['kersey-no-such-program', '-V']), {
    code: 'TOOL_MISSING',
    message: "the program 'kersey-no-such-program' is not installed",
  });
  t.equal(timers(), before);
});

t.test('a program that ends', async (t) => {
  const before = timers();
  const cat = await runTool(['cat'], { input: 'words' });
  t.match(cat, { stdout: 'words', stderr: '', code: 0 });
  const failed = await runTool(['cat', '/kersey/no/such/file']);
  t.equal(failed.code, 1);
  t.match(lastWords(failed), /no such file/i);
  t.equal(timers(), before);
});

t.test('a program that is stopped', async (t) => {
  const before = timers();
  const stop = new AbortController();
  const ended = runTool(['sleep', '60'], { signal: stop.signal });
  stop.abort();
  await t.rejects(ended, { code: 'INTERRUPTED' });
  t.equal(timers(), before);
});
