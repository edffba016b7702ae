// Offload settings of an interface, as profiles that mean the same everywhere.
//
// A veth passes 64 KB superpackets from one end to the other untouched, which flatters whatever can make them. The
// second profile makes it behave like a network card without tunnel offloads: packets of at most one MTU on the wire,
// segmented in software when sent and merged by NAPI GRO when received.

import type { Host } from './host.ts';
import { run } from './command.ts';

export const offloadProfiles = {
  'as is': [],
  'plain NIC': [
    ['tso', 'off'],
    ['tx-udp_tnl-segmentation', 'off'],
    ['tx-udp_tnl-csum-segmentation', 'off'],
    ['tx-udp-segmentation', 'off'],
    ['gso', 'on'],
    ['gro', 'on'],
  ],
  'all off': [
    ['tso', 'off'],
    ['tx-udp_tnl-segmentation', 'off'],
    ['tx-udp_tnl-csum-segmentation', 'off'],
    ['tx-udp-segmentation', 'off'],
    ['gso', 'off'],
    ['gro', 'off'],
    ['tx', 'off'],
    ['rx', 'off'],
    ['sg', 'off'],
  ],
} as const satisfies Record<string, readonly (readonly [feature: string, state: 'on' | 'off'])[]>;

export type OffloadProfile = keyof typeof offloadProfiles;

/** Sets one end. To imitate a network card, set both ends. */
export async function setOffloads(host: Host, profile: OffloadProfile): Promise<void> {
  const settings = offloadProfiles[profile];
  if (settings.length === 0) return;
  await host.exec(['ethtool', '-K', host.device, ...settings.flat()]);
}

/** What the interface's offloads are now, by ethtool's long names. */
export async function readOffloads(host: Host): Promise<ReadonlyMap<string, boolean>> {
  const { stdout } = await run(['ip', 'netns', 'exec', host.netns, 'ethtool', '-k', host.device]);
  const features = new Map<string, boolean>();
  for (const line of stdout.split('\n')) {
    const match = /^\s*([a-z0-9_-]+): (on|off)/.exec(line);
    if (match?.[1] !== undefined) features.set(match[1], match[2] === 'on');
  }
  return features;
}
