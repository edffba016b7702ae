// Underlays of 1280, 1500 and 9000 bytes: TCP, and UDP of every size around each edge, between two engines and between
// engine and kernel vxlan, over interfaces that take superpackets, that do not, and that can do nothing.
//
// On 1280 bytes there is no IPv6: the overlay would be left with 1210 bytes (1230 over IPv4), and IPv6 needs links of
// at least 1280 (RFC 8200, 5). On 1500 bytes traffic.test.ts has the pairs with kernel vxlan.

import t, { type Test } from 'tap';
import type { OffloadProfile } from '../../src/lab/offloads.ts';
import { Overlay, type Member } from '../../src/lab/overlay.ts';
import { PayloadReceiver } from '../../src/lab/payload.ts';
import { lossesOf, lossesSince } from '../lib/drops.ts';
import { skipUnlessInterop } from '../lib/interop.ts';

const skip = await skipUnlessInterop();

interface Underlay {
  readonly mtu: number;
  readonly families: readonly (4 | 6)[];
  readonly kernel: boolean;
}

const underlays: readonly Underlay[] = [
  { mtu: 1280, families: [4], kernel: true },
  { mtu: 1500, families: [4, 6], kernel: false },
  { mtu: 9000, families: [4, 6], kernel: true },
];

/** Bytes that the outer headers, VXLAN and the inner Ethernet header take. */
const overhead = { 4: 50, 6: 70 } as const;
const ipHeader = { 4: 20, 6: 40 } as const;
/** An IPv6 fragment has a header of its own. */
const fragmentHeader = { 4: 20, 6: 48 } as const;

const around = (edge: number, by: number): readonly number[] =>
  Array.from({ length: 2 * by + 1 }, (_, index) => edge - by + index);

/** Payloads of UDP: around what fits one inner packet, what fits one outer, and what two and three fragments hold. */
function datagrams(mtu: number, family: 4 | 6): readonly number[] {
  const inner = mtu - overhead[family];
  const perFragment = Math.floor((inner - fragmentHeader[family]) / 8) * 8;
  const edges = [inner - ipHeader[family] - 8, mtu - ipHeader[family] - 8, 2 * perFragment - 8];
  const sizes = [...edges.flatMap((edge) => around(edge, 10)), ...around(3 * perFragment - 8, 2), 1, 65_400];
  return [...new Set(sizes)];
}

/** Payloads of TCP around one segment, with and without its usual 12 bytes of options, and many segments. */
function streams(mtu: number, family: 4 | 6): readonly number[] {
  const segment = mtu - overhead[family] - ipHeader[family] - 20;
  return [...around(segment - 12 - 8, 2), ...around(segment, 2), 65_535, 1 << 20];
}

for (const offloads of ['as is', 'plain NIC', 'all off'] as const) {
  for (const underlay of underlays) {
    t.test(`MTU ${underlay.mtu}, offloads ${offloads}`, { skip }, (t) => tryUnderlay(t, underlay, offloads));
  }
}

async function tryUnderlay(t: Test, underlay: Underlay, offloads: OffloadProfile): Promise<void> {
  const { mtu, families, kernel } = underlay;
  const overlay = await Overlay.open({
    hosts: [
      { name: 'one', dataplane: 'engine', offloads },
      { name: 'two', dataplane: 'engine', offloads },
      ...(kernel ? [{ name: 'kernel', dataplane: 'kernel', offloads } as const] : []),
    ],
    ...{ dualStack: families.includes(6), mtu },
  });
  t.teardown(() => overlay.close());
  const [one, two] = [overlay.member('one'), overlay.member('two')];
  const before = new Map<Member, Awaited<ReturnType<typeof lossesOf>>>();
  for (const member of overlay.members) before.set(member, await lossesOf(member));
  for (const family of families) {
    const device = family === 4 ? 'flannel.1' : 'flannel-v6.1';
    const [link] = await one.host.ipJson<{ mtu: number }[]>('link', 'show', device);
    t.equal(link?.mtu, mtu - overhead[family], `${device} has the MTU that is left`);
    await exchange(t, one, two, family, mtu);
    if (!kernel) continue;
    await exchange(t, one, overlay.member('kernel'), family, mtu);
    await exchange(t, overlay.member('kernel'), one, family, mtu);
  }
  for (const [member, losses] of before) {
    t.same(await lossesSince(member, losses), [], `${member.host.name} dropped nothing`);
  }
}

async function exchange(t: Test, from: Member, to: Member, family: 4 | 6, mtu: number): Promise<void> {
  const what = `IPv${family}, ${from.host.name} -> ${to.host.name}`;
  const receiver = await PayloadReceiver.open(to.host, (family === 4 ? to.address4 : to.address6) ?? '');
  const [tcp, udp] = await Promise.all([
    receiver.tcpFrom(from.host, streams(mtu, family)),
    receiver.udpFrom(from.host, datagrams(mtu, family)),
  ]);
  t.same(tcp.faults, [], `${what}: TCP`);
  t.same(udp.faults, [], `${what}: ${udp.payloads} UDP datagrams`);
  await receiver.close();
}
