// Packets that an engine host lost, wherever that was: in the engine, at its TUN, at its sockets.

import type { Member } from '../../src/lab/overlay.ts';

/** Reasons that are no loss: a host multicasts on every interface (MLD, router solicitations), and nobody listens. */
const explained = new Set(['tx_multicast']);

interface LinkStatistics {
  readonly ifname: string;
  readonly stats64: Readonly<Record<'rx' | 'tx', { readonly dropped: number; readonly errors: number }>>;
}

/** Kernel counters (nstat's names) that count a loss. */
const losses = [
  'TcpInCsumErrors',
  ...[
    'UdpRcvbufErrors',
    'UdpSndbufErrors',
    'UdpInCsumErrors',
    'IpReasmFails',
    'IpInDiscards',
    'IpOutDiscards',
  ],
  ...[
    'Udp6RcvbufErrors',
    'Udp6SndbufErrors',
    'Udp6InCsumErrors',
    'Ip6ReasmFails',
    'Ip6InDiscards',
    'Ip6OutDiscards',
  ],
];

/** How many packets were lost, by where and why. */
export type Losses = ReadonlyMap<string, number>;

type Loss = readonly [where: string, count: number];

/** What was lost since the host was made: while a link comes up, its neighbour discovery may be. */
export async function lossesOf(member: Member): Promise<Losses> {
  const where = await Promise.all([inEngine(member), atDevices(member), inStack(member)]);
  return new Map(where.flat());
}

/** What was lost since `before`, in words; empty when nothing was. */
export async function lossesSince(member: Member, before: Losses): Promise<readonly string[]> {
  const now = await lossesOf(member);
  return [...now].flatMap(([where, count]) => {
    const lost = count - (before.get(where) ?? 0);
    return lost > 0 ? [`${member.host.name}: ${where} ${lost}`] : [];
  });
}

async function inEngine({ engine }: Member): Promise<readonly Loss[]> {
  const overlays = engine === undefined ? [] : (await engine.status()).overlays;
  return overlays.flatMap(({ family, drops }) =>
    Object.entries(drops)
      .filter(([reason]) => !explained.has(reason))
      .map(([reason, count]): Loss => [`IPv${family} ${reason}`, count]),
  );
}

async function atDevices({ host, dataplane }: Member): Promise<readonly Loss[]> {
  const links = await host.ipJson<LinkStatistics[]>('-s', 'link', 'show', 'up');
  // A kernel vxlan device counts the host's multicasts, for which it has no forwarding entry, as drops.
  const counted = links.filter(({ ifname }) => dataplane === 'engine' || ifname === host.device);
  return counted.flatMap(({ ifname, stats64 }) =>
    (['rx', 'tx'] as const).flatMap((way): readonly Loss[] => [
      [`${ifname} ${way} dropped`, stats64[way].dropped],
      [`${ifname} ${way} errors`, stats64[way].errors],
    ]),
  );
}

async function inStack({ host }: Member): Promise<readonly Loss[]> {
  const { stdout } = await host.exec(['nstat', '-a', '-j', '-s']);
  const { kernel } = JSON.parse(stdout) as { kernel: Readonly<Record<string, number>> };
  return losses.map((name): Loss => [name, kernel[name] ?? 0]);
}
