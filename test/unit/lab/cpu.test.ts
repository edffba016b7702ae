// /proc/stat in seconds and shares.

import t from 'tap';
import { parseCpuTimes, processSeconds, stealPercent } from '../../../src/lab/cpu.ts';

t.test('busy time leaves out idle, iowait and steal', async (t) => {
  const times = parseCpuTimes('cpu  100 200 300 9999 8888 10 20 70 5 5\ncpu0 1 1 1 1\n');
  t.same(times, { busy: 6.3, steal: 0.7 });
  t.equal(stealPercent(times), 10);
  t.equal(stealPercent({ busy: 0, steal: 0 }), 0);
});

t.test('a process that works uses time', async (t) => {
  const before = processSeconds(process.pid);
  for (const end = performance.now() + 60; performance.now() < end;);
  t.ok(processSeconds(process.pid) > before);
});
