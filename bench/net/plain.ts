// Bare veth, kernel vxlan and Kersey, in all their combinations.

import { features } from '../../src/engine/feature.ts';
import { Lab } from '../../src/lab/lab.ts';
import { probeKernelVxlan } from '../../src/lab/kernel-vxlan.ts';
import { setOffloads } from '../../src/lab/offloads.ts';
import { Overlay, type Dataplane } from '../../src/lab/overlay.ts';
import type { Contender, Joined, OpenOptions } from './contender.ts';

/** Two hosts joined by one veth pair, as they stand. */
export async function openVeth({ offloads, signal }: OpenOptions): Promise<Lab> {
  const lab = await Lab.open({ hosts: ['h1', 'h2'], join: 'direct', signal });
  try {
    for (const host of lab.hosts) await setOffloads(host, offloads);
    return lab;
  } catch (error) {
    await lab.close();
    throw error;
  }
}

export const bareVeth: Contender = {
  name: 'bare veth',
  vouched: true,
  unavailable: () => Promise.resolve(undefined),
  open: async (options) => {
    const lab = await openVeth(options);
    return { lab, address: lab.host('h2').address4, close: () => lab.close() };
  },
};

export const kernelVxlan: Contender = overlay('kernel vxlan', ['kernel', 'kernel']);
export const engine: Contender = overlay('Kersey', ['engine', 'engine']);
export const engineToKernel: Contender = overlay('Kersey -> kernel', ['engine', 'kernel']);
export const kernelToEngine: Contender = overlay('kernel -> Kersey', ['kernel', 'engine']);
/** Every packet passes through the process: what flow offload adds (ADR 15). */
export const engineThreads: Contender = overlay('Kersey, no flow-offload', ['engine', 'engine'], {
  engineArguments: ['--disable', 'flow-offload'],
});
/** What the machine's own congestion control hides, which may pace. */
export const kernelVxlanReno: Contender = overlay('kernel vxlan, reno', ['kernel', 'kernel'], {
  congestion: 'reno',
});
export const engineReno: Contender = overlay('Kersey, reno', ['engine', 'engine'], { congestion: 'reno' });
export const onePacket: Contender = overlay('Kersey one packet a syscall', ['engine', 'engine'], {
  engineArguments: ['--disable', features.join(',')],
});

function overlay(
  name: string,
  dataplanes: readonly [Dataplane, Dataplane],
  options: { readonly engineArguments?: readonly string[]; readonly congestion?: string } = {},
): Contender {
  const { engineArguments = [], congestion } = options;
  return {
    name,
    vouched: true,
    unavailable: () => (dataplanes.includes('kernel') ? kernelVxlanMissing() : Promise.resolve(undefined)),
    open: async ({ offloads, signal }): Promise<Joined> => {
      const joined = await Overlay.open({
        hosts: dataplanes.map((dataplane, index) => ({
          ...{ name: `h${index + 1}`, dataplane, offloads },
          arguments: engineArguments,
        })),
        ...{ join: 'direct', signal },
        ...(congestion === undefined ? {} : { congestion }),
      });
      return {
        lab: joined.lab,
        address: joined.member('h2').address4,
        ...(dataplanes.includes('engine') ? { totals: () => joined.totals() } : {}),
        close: () => joined.close(),
      };
    },
  };
}

async function kernelVxlanMissing(): Promise<string | undefined> {
  const lab = await Lab.open({ hosts: ['h1'] });
  try {
    return await probeKernelVxlan(lab.host('h1'));
  } finally {
    await lab.close();
  }
}
