// `kersey demo` stopped at any moment takes everything down with it.

import t from 'tap';
import { runKersey } from '../lib/kersey.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';
import { tracesOf } from '../lib/traces.ts';

const skip = skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('ip', 'ping', 'iperf3');

// So many milliseconds after the start: while namespaces are made, while daemons start, while traffic runs.
for (const [delay, signal] of [
  [500, 'SIGINT'],
  [650, 'SIGTERM'],
  [800, 'SIGINT'],
  [950, 'SIGTERM'],
  [1100, 'SIGHUP'],
  [1400, 'SIGINT'],
  [1700, 'SIGTERM'],
  [3000, 'SIGINT'],
] as const) {
  t.test(`${signal} after ${delay} ms`, { skip }, async (t) => {
    const run = await runKersey(['demo'], {
      onStart: (kill) => {
        setTimeout(kill, delay, signal);
      },
    });
    t.equal(run.signal, signal, `ended by the signal: ${run.stderr}`);
    t.equal(run.stdout, '');
    t.same(tracesOf(run.pid), []);
  });
}

t.test('SIGTERM while traffic is measured', { skip }, async (t) => {
  let measured = false;
  const run = await runKersey(['demo'], {
    onStderr: (text, kill) => {
      if (measured || !/h1 .* -> h2 .* Gbit/.test(text)) return;
      measured = true;
      setTimeout(kill, 1500, 'SIGTERM');
    },
  });
  t.equal(run.signal, 'SIGTERM');
  t.same(tracesOf(run.pid), []);
});

t.test('a second SIGINT does not wait for anything', { skip }, async (t) => {
  let joining = false;
  const run = await runKersey(['demo'], {
    onStderr: (text, kill) => {
      if (joining || !text.includes('joining')) return;
      joining = true;
      kill('SIGINT');
      setTimeout(kill, 20, 'SIGINT');
    },
  });
  t.ok(run.signal === 'SIGINT' || run.exitCode === 1, `ended: ${run.stderr}`);
  t.same(tracesOf(run.pid), []);
});
