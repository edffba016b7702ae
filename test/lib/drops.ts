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

/** In words, empty when nothing was lost. */
export async function unexplainedDrops(member: Member): Promise<readonly string[]> {
  const where = await Promise.all([inEngine(member), atDevices(member), inStack(member)]);
  return where.flat().map((text) => `${member.host.name}: ${text}`);
}

async function inEngine({ engine }: Member): Promise<readonly string[]> {
  const overlays = engine === undefined ? [] : (await engine.status()).overlays;
  return overlays.flatMap(({ family, drops }) =>
    Object.entries(drops)
      .filter(([reason, count]) => count > 0 && !explained.has(reason))
      .map(([reason, count]) => `IPv${family} ${reason} ${count}`),
  );
}

async function atDevices({ host, dataplane }: Member): Promise<readonly string[]> {
  const links = await host.ipJson<LinkStatistics[]>('-s', 'link', 'show', 'up');
  // A kernel vxlan device counts the host's multicasts, for which it has no forwarding entry, as drops.
  const counted = links.filter(({ ifname }) => dataplane === 'engine' || ifname === host.device);
  return counted.flatMap(({ ifname, stats64 }) =>
    (['rx', 'tx'] as const)
      .filter((way) => stats64[way].dropped + stats64[way].errors > 0)
      .map((way) => `${ifname} ${way} dropped ${stats64[way].dropped}, errors ${stats64[way].errors}`),
  );
}

async function inStack({ host }: Member): Promise<readonly string[]> {
  const { stdout } = await host.exec(['nstat', '-a', '-j', '-s']);
  const { kernel } = JSON.parse(stdout) as { kernel: Readonly<Record<string, number>> };
  return losses.flatMap((name) => ((kernel[name] ?? 0) > 0 ? [`${name} ${kernel[name] ?? 0}`] : []));
}
