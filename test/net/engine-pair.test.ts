// The scale benches' two engines: they carry traffic while their tables are replaced, and every packet is accounted for.

import t from 'tap';
import { EnginePair } from '../../bench/scale/engine-pair.ts';
import { lossAccount } from '../../src/lab/losses.ts';
import { ping } from '../../src/lab/measure.ts';
import { skipUnlessInstalled, skipUnlessTun } from '../lib/requirements.ts';

const skip = skipUnlessTun() || skipUnlessInstalled('ip', 'ping', 'tc');

t.test('engines answer in the order of the questions, and packets pass meanwhile', { skip }, async (t) => {
  const pair = await EnginePair.open(new AbortController().signal);
  t.teardown(() => pair.close());
  const before = await pair.drops();
  const [first, totals, second, seen] = await Promise.all([
    pair.setPeers(1000, 1),
    pair.drops(),
    pair.setPeers(1000, 2),
    ping(pair.lab.host('h1'), pair.address, { count: 20, intervalS: 0.01 }),
  ]);
  for (const ms of [...first, ...second]) t.ok(ms > 0 && ms < 5000, `${ms} ms`);
  t.equal(typeof totals.engines?.txPackets, 'number');
  t.match(seen, { sent: 20, received: 20 });
  const after = await pair.drops();
  t.ok((after.engines?.rxPackets ?? 0) >= 40, 'both directions are counted');
  t.equal(lossAccount({ sent: 20, delivered: 20 }, before, after).unexplained, 0);
});
