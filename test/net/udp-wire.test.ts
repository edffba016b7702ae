// Flannel's udp wire between two engines: everything that can be exchanged, what it looks like on the way, the TTL, and
// how what cannot be forwarded is answered.

import t from 'tap';
import type { Host } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { setOffloads } from '../../src/lab/offloads.ts';
import { PayloadReceiver } from '../../src/lab/payload.ts';
import { Capture, mark } from '../lib/capture.ts';
import {
  addressOf,
  exchangeAll,
  judgeUdpWire,
  openUdpEngine,
  skipUnlessUdpWire,
  udpMtu,
} from '../lib/udp-wire.ts';

const skip = skipUnlessUdpWire();

const pingOnce = async (from: Host, ...args: readonly string[]): Promise<string> =>
  (await from.exec(['ping', '-n', '-c', '1', '-W', '1', ...args], { anyExit: true })).stdout;

for (const offloads of ['as is', 'plain NIC', 'all off'] as const) {
  for (const workers of offloads === 'as is' ? [1, 2] : [1]) {
    t.test(`offloads ${offloads}, ${workers} workers`, { skip }, async (t) => {
      const lab = await Lab.open({ hosts: ['one', 'two'], join: 'direct' });
      t.teardown(() => lab.close());
      const [one, two] = [lab.host('one'), lab.host('two')];
      await Promise.all(lab.hosts.map((host) => setOffloads(host, offloads)));
      const engines = await Promise.all(lab.hosts.map((host) => openUdpEngine(lab, host, { workers })));
      const capture = await Capture.start(one, one.device, lab.directory);
      await exchangeAll(t, lab, one, two);
      await exchangeAll(t, lab, two, one);
      await capture.stop(await mark(one, two));
      if (offloads === 'all off') {
        const { frames, faults, outer } = await judgeUdpWire(capture);
        t.same(faults, [], `tshark on ${frames} frames`);
        t.ok(frames > 300, 'and there were frames to judge');
        for (const host of lab.hosts) t.same([...(outer.get(host.address4) ?? [])], ['8285 8285 0x00 64']);
      }
      for (const engine of engines) {
        t.same(await engine.drops(), {}, `${engine.host.name} dropped nothing`);
        await engine.close();
      }
    });
  }
}

t.test('with every feature off', { skip }, async (t) => {
  const lab = await Lab.open({ hosts: ['one', 'two'], join: 'direct' });
  t.teardown(() => lab.close());
  const disable = ['tun-csum', 'udp-gso', 'udp-gro', 'batch', 'coalesce', 'coalesce-udp'] as const;
  const engines = await Promise.all(lab.hosts.map((host) => openUdpEngine(lab, host, { disable })));
  await exchangeAll(t, lab, lab.host('one'), lab.host('two'));
  for (const engine of engines) {
    t.same(await engine.drops(), {}, `${engine.host.name} dropped nothing`);
    const { counters } = await engine.counts();
    t.equal(counters['tx_datagrams'], counters['tx_packets'], 'one datagram a packet');
    t.equal(counters['rx_coalesced'], 0);
    await engine.close();
  }
});

t.test('packets travel in runs, without the shortcuts that are for VXLAN', { skip }, async (t) => {
  const lab = await Lab.open({ hosts: ['one', 'two'], join: 'direct' });
  t.teardown(() => lab.close());
  const [one, two] = [lab.host('one'), lab.host('two')];
  const from = await openUdpEngine(lab, one);
  const to = await openUdpEngine(lab, two);
  const receiver = await PayloadReceiver.open(two, addressOf(lab, two));
  t.same((await receiver.tcpFrom(one, [32 << 20])).faults, []);
  await receiver.close();
  const { counters: sent, features } = await from.counts();
  const { counters: got } = await to.counts();
  const on = (name: string): boolean => features.some((feature) => feature.name === name && feature.on);
  if (!on('udp-gso') || !on('udp-gro') || !on('coalesce')) {
    t.pass('runs', { skip: 'no UDP_SEGMENT, UDP_GRO or offloads on this kernel' });
  } else {
    t.ok((sent['tx_packets'] ?? 0) > 10 * (sent['tx_datagrams'] ?? 0), 'many packets a send');
    t.ok((got['rx_packets'] ?? 0) > 10 * (got['rx_datagrams'] ?? 0), 'many packets a receive');
    t.ok((got['rx_packets'] ?? 0) > 10 * (got['rx_writes'] ?? 0), 'many packets a write to the TUN');
  }
  t.equal(sent['tx_injected'], 0);
  t.equal(got['rx_ring'], 0);
  for (const name of ['tunnel-gso', 'receive-ring']) {
    const feature = features.find((candidate) => candidate.name === name);
    t.equal(feature?.on, false, name);
    t.match(feature?.reason, /udp|needs|kernel/, feature?.reason ?? 'no reason');
  }
  await from.close();
  await to.close();
});

t.test('each end is a hop', { skip }, async (t) => {
  const lab = await Lab.open({ hosts: ['one', 'two'], join: 'direct' });
  t.teardown(() => lab.close());
  const [one, two] = [lab.host('one'), lab.host('two')];
  const from = await openUdpEngine(lab, one);
  const to = await openUdpEngine(lab, two);
  const address = addressOf(lab, two);
  const wire = await Capture.start(one, one.device, lab.directory);
  const inside = await Capture.start(two, 'flannel0', lab.directory);

  t.match(await pingOnce(one, '-t', '1', address), /From 10\.5\.2\.0 .*Time to live exceeded/);
  t.same(await from.drops(), { tx_ttl: 1 });
  t.match(
    await pingOnce(one, '-t', '2', address),
    /100% packet loss/,
    'the far end is silent, as flannel is',
  );
  t.same(await to.drops(), { rx_ttl: 1 });
  t.match(await pingOnce(one, '-t', '3', address), /ttl=62 /, 'what comes back has lost two as well');
  t.match(await pingOnce(one, '-t', '255', address), /ttl=62 /);

  await wire.stop(await mark(one, two));
  await pingOnce(one, '-p', Buffer.from('the end').toString('hex'), address);
  await inside.stop('the end');
  const requests = 'icmp.type == 8 && ip.dst == 10.5.2.0';
  const ttls = async (capture: Capture): Promise<readonly (string | undefined)[]> =>
    (await capture.fields(requests, 'ip.ttl')).map(([ttl]) => ttl?.at(-1));
  t.same(await ttls(wire), ['1', '2', '254']);
  t.same((await ttls(inside)).slice(0, 2), ['1', '253']);
  await from.close();
  await to.close();
});

t.test('what cannot be forwarded is answered by ICMP, IPv6 by nothing', { skip }, async (t) => {
  const lab = await Lab.open({ hosts: ['one', 'two'], join: 'direct' });
  t.teardown(() => lab.close());
  const [one, two] = [lab.host('one'), lab.host('two')];
  const engine = await openUdpEngine(lab, one);
  t.match(await pingOnce(one, '10.5.9.9'), /From 10\.5\.9\.9 .*Destination Net Unreachable/);
  await one.ip('link set flannel0 mtu 9000');
  const tooBig = await pingOnce(one, '-M', 'do', '-s', '4000', addressOf(lab, two));
  t.match(tooBig, new RegExp(`Frag needed and DF set \\(mtu = ${udpMtu}\\)`));
  t.same(await engine.drops(), { tx_no_peer: 1, tx_too_big: 1 });
  const { counters } = await engine.counts();
  t.equal(counters['icmp_sent'], 2);
  await one.sysctl('net.ipv6.conf.flannel0.disable_ipv6', 0);
  await one.ip('address add fd05::1/128 dev flannel0 nodad', 'route add fd05::/16 dev flannel0');
  t.match(await pingOnce(one, 'fd05::2'), /100% packet loss/);
  t.match(await engine.drops(), { tx_not_ipv4: 1 });
  t.equal((await engine.counts()).counters['icmp_sent'], 2, 'nothing was said about it');
  await engine.close();
});
