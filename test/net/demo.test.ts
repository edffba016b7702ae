// `kersey demo` as a newcomer meets it: it works, also twice at once, and leaves the machine as it was.

import t from 'tap';
import type { DemoResult } from '../../src/cli/demo.ts';
import { runKersey } from '../lib/kersey.ts';
import {
  kernelVxlanMissing,
  skipUnlessInstalled,
  skipUnlessRoot,
  skipUnlessTun,
} from '../lib/requirements.ts';
import { tracesOf } from '../lib/traces.ts';

const skip = skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('ip', 'ping', 'iperf3');

t.test('two demos at once: every pair is well, and nothing stays', { skip }, async (t) => {
  const [json, text] = await Promise.all([runKersey(['demo', '-o', 'json']), runKersey(['demo'])]);

  t.equal(json.exitCode, 0, json.stderr);
  const result = JSON.parse(json.stdout) as DemoResult;
  const kernel = (await kernelVxlanMissing()) === undefined;
  t.equal(result.kernelVxlanMissing === undefined, kernel);
  t.equal(result.directions.length, kernel ? 6 : 2, 'every pair, both ways');
  for (const { from, to, ping, payload, gigabitsPerSecond } of result.directions) {
    t.equal(ping.received, ping.sent, `${from} -> ${to}: no ping lost`);
    t.same(payload.faults, [], `${from} -> ${to}: no byte changed`);
    t.ok(payload.bytes > 64 << 20 && gigabitsPerSecond > 0, `${from} -> ${to}: measured`);
  }

  t.equal(text.exitCode, 0, text.stderr);
  t.match(text.stdout, /h1 -> h2 .* engine -> engine .* 5\/5 .* MB intact/);
  t.match(text.stdout, /npx kersey up --store file:/, 'says how to go on');
  t.match(text.stderr, /joining h1 \(engine\), h2 \(engine\)/, 'shows progress');
  t.same([...tracesOf(json.pid), ...tracesOf(text.pid)], [], 'nothing stays');
});
