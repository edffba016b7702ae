// An underlay that loses one packet in a hundred, whole superpackets or single packets of the wire: TCP between
// engines, and between engine and kernel vxlan both ways, brings every byte, and nothing is dropped by us besides.

import t, { type Test } from 'tap';
import { run } from '../../src/lab/command.ts';
import type { OffloadProfile } from '../../src/lab/offloads.ts';
import { Overlay, type Dataplane, type Member } from '../../src/lab/overlay.ts';
import { PayloadReceiver } from '../../src/lab/payload.ts';
import { lossesOf, lossesSince } from '../lib/drops.ts';
import { skipUnlessInterop } from '../lib/interop.ts';
import { Loss, lossMissing } from '../lib/loss.ts';
import { skipUnlessInstalled } from '../lib/requirements.ts';

const skip = (await skipUnlessInterop()) || skipUnlessInstalled('nft', 'tc') || (await withoutLoss());

const stream = [1, 1398, 65_535, 12 << 20];
const enough = 3;
const pairs = [
  ['one', 'two'],
  ['one', 'kernel'],
  ['kernel', 'one'],
] as const;

async function withoutLoss(): Promise<string | false> {
  const reason = await lossMissing();
  return reason !== undefined && `no nftables that lose packets at random: ${reason}`;
}

async function openOverlay(t: Test, offloads: OffloadProfile): Promise<Overlay> {
  const host = (name: string, dataplane: Dataplane) => ({ name, dataplane, offloads });
  const overlay = await Overlay.open({
    hosts: [host('one', 'engine'), host('two', 'engine'), host('kernel', 'kernel')],
    dualStack: true,
  });
  t.teardown(() => overlay.close());
  return overlay;
}

for (const offloads of ['as is', 'plain NIC'] as const) {
  t.test(`one packet in a hundred lost, offloads ${offloads}`, { skip }, async (t) => {
    const overlay = await openOverlay(t, offloads);
    const before = new Map<Member, Awaited<ReturnType<typeof lossesOf>>>();
    for (const member of overlay.members) before.set(member, await lossesOf(member));
    const loss = await Loss.start(overlay.lab, 1);
    for (const [from, to] of pairs) {
      for (const family of [4, 6] as const) {
        const what = `IPv${family}, ${from} -> ${to}`;
        const lost = await sendUntilLost(t, what, loss, overlay.member(from), overlay.member(to), family);
        t.ok(lost >= enough, `${what}: ${lost} packets of it were lost`);
      }
    }
    const { seen, superpackets } = await loss.count();
    t.equal(superpackets > 0, offloads === 'as is', `${superpackets} of ${seen} packets were superpackets`);
    for (const [member, losses] of before) {
      t.same(await lossesSince(member, losses), [], `${member.host.name} itself dropped nothing`);
    }
  });

  // The kernel tells a UDP sender nothing of a full queue (it does so only with IP_RECVERR), so this loss is the
  // qdisc's to count.
  t.test(`a queue on the way out that overflows, offloads ${offloads}`, { skip }, async (t) => {
    const overlay = await openOverlay(t, offloads);
    const [one, two] = [overlay.member('one'), overlay.member('two')];
    const { device } = one.host;
    const tbf = ['tbf', 'rate', '400mbit', 'burst', '20000', 'limit', '60000'];
    await one.host.exec(['tc', 'qdisc', 'add', 'dev', device, 'root', ...tbf]);
    for (const family of [4, 6] as const) {
      const { faults } = await tcp(one, two, family);
      t.same(faults, [], `IPv${family}: TCP`);
    }
    const { stdout } = await run(['tc', '-n', one.host.netns, '-s', '-j', 'qdisc', 'show', 'dev', device]);
    const [qdisc] = JSON.parse(stdout) as { kind: string; drops: number }[];
    t.ok(qdisc?.kind === 'tbf' && qdisc.drops > 0, `the queue dropped ${String(qdisc?.drops)}`);
    const { tx_multicast: multicast, ...drops } = await overlay.drops();
    t.same(
      Object.entries({ ...drops }).filter(([, count]) => count > 0),
      [],
      `the engines none (${multicast ?? 0} of multicast)`,
    );
  });
}

/** Sends until enough was lost on the way: at random, so that now and then it takes another round. */
async function sendUntilLost(
  t: Test,
  what: string,
  loss: Loss,
  from: Member,
  to: Member,
  family: 4 | 6,
): Promise<number> {
  const start = (await loss.count()).dropped;
  for (let round = 1; ; round += 1) {
    const { faults, bytes } = await tcp(from, to, family);
    t.same(faults, [], `${what}: TCP of ${bytes} bytes`);
    const lost = (await loss.count()).dropped - start;
    if (lost >= enough || round === 10) return lost;
  }
}

async function tcp(from: Member, to: Member, family: 4 | 6): ReturnType<PayloadReceiver['tcpFrom']> {
  const receiver = await PayloadReceiver.open(to.host, (family === 4 ? to.address4 : to.address6) ?? '');
  try {
    return await receiver.tcpFrom(from.host, stream);
  } finally {
    await receiver.close();
  }
}
