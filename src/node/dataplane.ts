// Who carries the packets of a backend, and why: the kernel where it can, the engine where it cannot or where it is
// asked for. Found out by trying: a device of the kind is made and removed again.

import type { Dataplane } from '../backend/backend.ts';
import { enabledFamilies } from '../backend/overlay.ts';
import type { NetworkConfig } from '../config/network.ts';
import { KerseyError } from '../errors.ts';
import { probeIpip, probeKernelVxlan } from './devices/kernel-probe.ts';
import type { ProbeNetlink } from './devices/kernel-probe.ts';

export type DataplaneWish = 'auto' | Dataplane;
export const dataplaneWishes = ['auto', 'engine', 'kernel'] as const satisfies readonly DataplaneWish[];

export interface DataplaneChoice {
  readonly mode: Dataplane | 'none';
  /** In a clause, for log and status. */
  readonly why: string;
}

/** @throws KerseyError BACKEND_UNSUPPORTED when what is asked for cannot be had */
export function chooseDataplane(
  wish: DataplaneWish,
  config: NetworkConfig,
  netlink: ProbeNetlink,
): DataplaneChoice {
  const { backend } = config;
  switch (backend.type) {
    case 'vxlan':
      return chooseForVxlan(wish, () => kernelVxlanLacks(config, netlink));
    case 'udp':
      return only('engine', wish, "flannel's udp wire, which no kernel speaks");
    case 'host-gw':
      return only('kernel', wish, 'routes do without a tunnel');
    case 'wireguard':
      return only('kernel', wish, 'the wireguard module, or wireguard-go where there is none');
    case 'ipip': {
      const lacks = probeIpip(netlink);
      if (lacks === undefined) return only('kernel', wish, 'the ipip module');
      throw new KerseyError('BACKEND_UNSUPPORTED', `this kernel makes no ipip device: ${lacks}`, {
        remedy: 'load the module (modprobe ipip), or use another backend such as vxlan',
      });
    }
    case 'alloc':
      return { mode: 'none', why: 'a subnet and nothing else' };
    case 'extension':
      return { mode: 'none', why: 'its commands see to the packets' };
  }
}

/** Why the kernel cannot do it, in words; undefined when it can. */
function kernelVxlanLacks(config: NetworkConfig, netlink: ProbeNetlink): string | undefined {
  for (const family of enabledFamilies(config)) {
    const lacks = probeKernelVxlan(netlink, family);
    if (lacks !== undefined) return lacks;
  }
  return undefined;
}

function chooseForVxlan(wish: DataplaneWish, probe: () => string | undefined): DataplaneChoice {
  if (wish === 'engine') return { mode: 'engine', why: 'VXLAN in userspace, as --dataplane engine asks' };
  const lacks = probe();
  if (lacks === undefined) {
    return wish === 'kernel'
      ? { mode: 'kernel', why: 'kernel vxlan, as --dataplane kernel asks' }
      : { mode: 'kernel', why: 'this kernel makes vxlan devices' };
  }
  if (wish === 'auto') {
    return { mode: 'engine', why: `VXLAN in userspace, because this kernel makes no vxlan device: ${lacks}` };
  }
  throw new KerseyError('BACKEND_UNSUPPORTED', `this kernel makes no vxlan device: ${lacks}`, {
    remedy: 'load the module (modprobe vxlan), or use --dataplane engine',
  });
}

function only(mode: Dataplane, wish: DataplaneWish, why: string): DataplaneChoice {
  if (wish === 'auto' || wish === mode) return { mode, why };
  throw new KerseyError('BACKEND_UNSUPPORTED', `--dataplane ${wish} cannot be had: ${why}`, {
    remedy: 'leave --dataplane out',
  });
}
