// The kernel's own ipip device, as flannel makes it: `flannel.ipip`, one for all peers, with a local address only. The
// gateway of a route is the peer that its packets are wrapped for, so there is no table of peers.
//
// The rules for a device that exists are those of kernel-device.ts. No underlay interface is bound, as with flannel: the
// wrapped packets go by the host's routes. The kernel's tunl0, which comes with the module, is left alone.

import type { IpipDevicePlan } from '../../backend/plan.ts';
import { KerseyError } from '../../errors.ts';
import type { Link, LinkCreate } from '../../netlink/link.ts';
import type { OnRepair } from './driver.ts';
import { KernelDevice } from './kernel-device.ts';
import type { KernelDeviceNetlink } from './kernel-device.ts';

export interface IpipDeviceOptions {
  readonly netlink: KernelDeviceNetlink;
  readonly onRepair: OnRepair;
}

export class IpipDevice extends KernelDevice<IpipDevicePlan> {
  readonly kind = 'ipip';
  readonly #netlink: KernelDeviceNetlink;

  constructor({ netlink, onRepair }: IpipDeviceOptions) {
    super(netlink, onRepair);
    this.#netlink = netlink;
  }

  applyPeers(): readonly KerseyError[] {
    return [];
  }

  protected wanted({ name, mtu, local }: IpipDevicePlan): LinkCreate {
    return { name, mtu, tunnel: { kind: 'ipip', local } };
  }

  protected configurationOf({ local }: IpipDevicePlan): string {
    return local;
  }

  protected differenceOf({ tunnel }: Link, { tunnel: { local } }: LinkCreate): string | undefined {
    return differenceOf(tunnel, local);
  }

  /** The kernel has one device for a pair of addresses. */
  protected holderOf({ local }: IpipDevicePlan): Link | undefined {
    return this.#netlink.links().find(({ tunnel }) => differenceOf(tunnel, local) === undefined);
  }

  protected taken(
    { name, local }: IpipDevicePlan,
    holder: Link | undefined,
    cause: KerseyError,
  ): KerseyError {
    if (holder === undefined) return cause;
    return new KerseyError(
      'DEVICE_TAKEN',
      `${name} cannot be made: the ipip device ${holder.name} has the local address ${local}`,
      { remedy: `stop what made it, or remove it: ip link delete ${holder.name}`, cause },
    );
  }
}

function differenceOf(tunnel: Link['tunnel'], local: string | undefined): string | undefined {
  if (tunnel?.kind !== 'ipip') return 'an unknown configuration';
  if (tunnel.local !== local) return `the local address ${tunnel.local ?? 'any'}`;
  if (tunnel.remote !== undefined) return `the remote address ${tunnel.remote}`;
  if (tunnel.underlay !== undefined) return 'an underlay interface of its own';
  // These two speak otherwise than the peers.
  if (tunnel.external) return 'external';
  return tunnel.encapsulated ? 'an encapsulation' : undefined;
}
