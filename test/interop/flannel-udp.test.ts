// The engine's udp wire and flannel's proxy, or rather a model of it (test/lib/flannel-proxy.c): each takes the other
// for one of its own.

import t from 'tap';
import { Lab } from '../../src/lab/lab.ts';
import { ping } from '../../src/lab/measure.ts';
import { setOffloads } from '../../src/lab/offloads.ts';
import { Capture, mark } from '../lib/capture.ts';
import { skipUnlessInstalled } from '../lib/requirements.ts';
import {
  addressOf,
  exchangeAll,
  judgeUdpWire,
  openFlannelProxy,
  openUdpEngine,
  skipUnlessUdpWire,
} from '../lib/udp-wire.ts';

const skip = skipUnlessUdpWire() || skipUnlessInstalled('cc');

for (const offloads of ['as is', 'plain NIC', 'all off'] as const) {
  t.test(`engine and flannel's proxy, offloads ${offloads}`, { skip }, async (t) => {
    const lab = await Lab.open({ hosts: ['engine', 'flannel'], join: 'direct' });
    t.teardown(() => lab.close());
    const [ours, theirs] = [lab.host('engine'), lab.host('flannel')];
    await Promise.all(lab.hosts.map((host) => setOffloads(host, offloads)));
    const engine = await openUdpEngine(lab, ours);
    const proxy = await openFlannelProxy(lab, theirs);
    const capture = await Capture.start(ours, ours.device, lab.directory);
    await exchangeAll(t, lab, ours, theirs);
    await exchangeAll(t, lab, theirs, ours);
    await capture.stop(await mark(ours, theirs));
    if (offloads === 'all off') {
      const { frames, faults, outer } = await judgeUdpWire(capture);
      t.same(faults, [], `tshark on ${frames} frames`);
      t.ok(frames > 300, 'and there were frames to judge');
      t.ok(outer.has(theirs.address4));
      t.same(outer.get(ours.address4), outer.get(theirs.address4), 'their outer headers are of one kind');
    }
    t.same(await engine.drops(), {}, 'the engine dropped nothing');
    t.ok(proxy.alive);
    await engine.close();
  });
}

t.test('a chain of three: engine, flannel, engine', { skip }, async (t) => {
  const lab = await Lab.open({ hosts: ['one', 'flannel', 'two'] });
  t.teardown(() => lab.close());
  const engines = await Promise.all(['one', 'two'].map((name) => openUdpEngine(lab, lab.host(name))));
  await openFlannelProxy(lab, lab.host('flannel'));
  for (const from of lab.hosts) {
    for (const to of lab.hosts) {
      if (from === to) continue;
      const { sent, received } = await ping(from, addressOf(lab, to));
      t.equal(received, sent, `${from.name} -> ${to.name}`);
    }
  }
  for (const engine of engines) {
    t.same(await engine.drops(), {}, `${engine.host.name} dropped nothing`);
    await engine.close();
  }
});

// Both layers but for the outer DF, see native/engine/udp.c.
t.test('a ping looks the same, whoever sends it', { skip }, async (t) => {
  const seen: unknown[] = [];
  for (const sender of ['engine', 'flannel'] as const) {
    const lab = await Lab.open({ hosts: ['sender', 'receiver'], join: 'direct' });
    t.teardown(() => lab.close());
    const [from, to] = [lab.host('sender'), lab.host('receiver')];
    const engine = sender === 'engine' ? await openUdpEngine(lab, from) : undefined;
    if (engine === undefined) await openFlannelProxy(lab, from);
    await openFlannelProxy(lab, to);
    const capture = await Capture.start(from, from.device, lab.directory);
    for (const tos of ['0', '1', '2', '3', '0xb8']) {
      await from.exec(['ping', '-c', '1', '-t', '9', '-Q', tos, addressOf(lab, to)]);
    }
    await capture.stop(await mark(from, to));
    const rows = await capture.fields(
      'icmp.type == 8 && udp',
      ...['ip.dsfield', 'ip.ttl', 'ip.len', 'udp.srcport', 'udp.dstport', 'udp.length'],
    );
    t.equal(rows.length, 5);
    seen.push(rows);
    await engine?.close();
    await lab.close();
  }
  t.same(seen[0], seen[1]);
});
