// More workers than processors: two daemons with eight each carry sixteen TCP streams each way and datagrams at once.
// Every byte arrives, nothing is dropped, and the counts of peers, engine and device agree.

import t, { type Test } from 'tap';
import { awaitCondition } from '../../src/lab/condition.ts';
import { Overlay, type Member } from '../../src/lab/overlay.ts';
import { PayloadReceiver } from '../../src/lab/payload.ts';
import { lossesOf, lossesSince } from '../lib/drops.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';

const skip = skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('ip', 'ethtool');

const streams = Array.from({ length: 16 }, (_, index) => (1 << 20) + 997 * index);
const datagrams = Array.from({ length: 60 }, (_, index) => 1 + 97 * index);

for (const offloads of ['as is', 'plain NIC'] as const) {
  t.test(`eight workers, offloads ${offloads}`, { skip }, async (t) => {
    const host = (name: string) =>
      ({ name, dataplane: 'engine', offloads, arguments: ['--workers', '8'] }) as const;
    const overlay = await Overlay.open({ hosts: [host('one'), host('two')], join: 'direct' });
    t.teardown(() => overlay.close());
    const [one, two] = [overlay.member('one'), overlay.member('two')];
    const before = [await lossesOf(one), await lossesOf(two)] as const;
    const [there, back] = [await open(two), await open(one)];
    const reports = await Promise.all([
      there.streamsFrom(one.host, streams),
      back.streamsFrom(two.host, streams),
      there.udpFrom(one.host, datagrams),
      back.udpFrom(two.host, datagrams),
    ]);
    for (const { faults, payloads } of reports) t.same(faults, [], `${payloads} payloads`);
    const lost = [await lossesSince(one, before[0]), await lossesSince(two, before[1])];
    t.same(lost.flat(), [], 'nothing was dropped');
    await checkCounts(t, one);
    await checkCounts(t, two);
  });
}

const open = (member: Member): Promise<PayloadReceiver> => PayloadReceiver.open(member.host, member.address4);

interface LinkCounts {
  readonly stats64: Readonly<Record<'rx' | 'tx', { readonly packets: number }>>;
}

/** The device's own counts are of what the engine read and wrote; a packet may be on its way while they are asked. */
async function checkCounts(t: Test, { host, engine }: Member): Promise<void> {
  const counts = await awaitCondition(`the counts of ${host.name} to agree`, async () => {
    const status = (await engine?.status())?.overlays[0];
    const [link] = await host.ipJson<LinkCounts[]>('-s', 'link', 'show', 'flannel.1');
    if (status === undefined || link === undefined) return undefined;
    const { counters, drops, peers } = status;
    const agree =
      link.stats64.tx.packets === counters['tx_reads'] &&
      link.stats64.rx.packets === (counters['rx_writes'] ?? 0) + (counters['icmp_sent'] ?? 0);
    return agree && { counters, drops, peers };
  });
  const { counters, peers } = counts;
  t.ok((counters['tx_superpackets'] ?? 0) > 0, `${host.name}: superpackets among them`);
  t.equal(peers.length, 1);
  t.match(
    peers[0],
    {
      txPackets: counters['tx_packets'],
      txBytes: counters['tx_bytes'],
      rxPackets: counters['rx_packets'],
      rxBytes: counters['rx_bytes'],
    },
    `${host.name}: the peer's counts are the engine's`,
  );
}
