// The kernel's own ipip device, as flannel makes it: `flannel.ipip`, one for all peers, with a local address only. The
// gateway of a route is the peer that its packets are wrapped for, so there is no table of peers.
//
// The rules for a device that exists are those of vxlan-device.ts. No underlay interface is bound, as with flannel: the
// wrapped packets go by the host's routes. The kernel's tunl0, which comes with the module, is left alone.

import type { IpipDevicePlan } from '../../backend/plan.ts';
import type { EngineStats } from '../../engine/engine.ts';
import { errnoName, KerseyError } from '../../errors.ts';
import type { Netlink } from '../../netlink/client.ts';
import type { Link } from '../../netlink/link.ts';
import type { DeviceDriver, DeviceState, OnRepair } from './driver.ts';
import { deviceClosed, linkOf } from './kernel-device.ts';

export interface IpipDeviceOptions {
  readonly netlink: IpipNetlink;
  readonly onRepair: OnRepair;
}

export type IpipNetlink = Pick<Netlink, 'link' | 'links' | 'createLink' | 'deleteLink'>;

/** The device that the last ensure() returned. */
interface Ensured {
  readonly index: number;
  readonly name: string;
  /** It was made for this; the same again is no change of plan, so a difference is damage. */
  readonly local: string;
}

export class IpipDevice implements DeviceDriver<IpipDevicePlan> {
  readonly kind = 'ipip';
  readonly #netlink: IpipNetlink;
  readonly #onRepair: OnRepair;
  #ensured: Ensured | undefined;
  #closed = false;

  constructor({ netlink, onRepair }: IpipDeviceOptions) {
    this.#netlink = netlink;
    this.#onRepair = onRepair;
  }

  /** @throws KerseyError DEVICE_TAKEN, PERMISSION, NETLINK */
  ensure(plan: IpipDevicePlan): Link {
    if (this.#closed) throw deviceClosed(plan.name);
    const { name, local } = plan;
    const settled = this.#ensured?.local === local ? this.#ensured : undefined;
    const present = linkOf(this.#netlink, name, 'ipip');
    if (present === undefined) this.#removeRenamed();
    const misfit = present === undefined ? undefined : differenceOf(present, local);
    const fits = present !== undefined && misfit === undefined;
    const link = fits ? present : this.#make(plan, present);
    this.#ensured = { index: link.index, name, local };
    if (settled === undefined) return link;
    if (present === undefined) this.#onRepair('device', `${name} was gone; made again`);
    else if (misfit !== undefined) this.#onRepair('device', `${name} had ${misfit}; made again`);
    else if (present.index !== settled.index) {
      this.#onRepair('device', `${name} was made again by somebody else; adopted`);
    }
    return link;
  }

  applyPeers(): readonly KerseyError[] {
    return [];
  }

  state(): DeviceState {
    return { kind: this.#closed ? 'closed' : 'running' };
  }

  stats(): EngineStats | undefined {
    return undefined;
  }

  close(): void {
    this.#closed = true;
  }

  remove(): void {
    this.#closed = true;
    if (this.#ensured === undefined) return;
    const link = this.#netlink.link(this.#ensured.name);
    if (link?.kind === 'ipip' && link.name === this.#ensured.name) this.#netlink.deleteLink(link);
  }

  /** Our device under another name has our address, and keeps a new one from being made. */
  #removeRenamed(): void {
    const index = this.#ensured?.index;
    const renamed = this.#netlink.links().find((link) => link.index === index && link.kind === 'ipip');
    if (renamed !== undefined) this.#netlink.deleteLink(renamed);
  }

  #make({ name, mtu, local }: IpipDevicePlan, misfit: Link | undefined): Link {
    if (misfit !== undefined) this.#netlink.deleteLink(misfit);
    const create = { name, mtu, tunnel: { kind: 'ipip' as const, local } };
    try {
      return this.#netlink.createLink(create);
    } catch (error) {
      const taken = error instanceof KerseyError && errnoName(error.cause) === 'EEXIST';
      // The kernel has one device for a pair of addresses, whatever its name.
      const holder = taken
        ? this.#netlink.links().find((link) => differenceOf(link, local) === undefined)
        : undefined;
      if (holder === undefined) throw error;
      if (holder.index !== this.#ensured?.index) throw addressTaken(name, local, holder.name, error);
      // Ours, under a name that somebody else gave it.
      this.#netlink.deleteLink(holder);
      return this.#netlink.createLink(create);
    }
  }
}

function addressTaken(name: string, local: string, holder: string, cause: unknown): KerseyError {
  return new KerseyError(
    'DEVICE_TAKEN',
    `${name} cannot be made: the ipip device ${holder} has the local address ${local}`,
    { remedy: `stop what made it, or remove it: ip link delete ${holder}`, cause },
  );
}

/** Why the device does not fit, to be read after "has"; undefined when it does. */
function differenceOf({ tunnel }: Link, local: string): string | undefined {
  if (tunnel?.kind !== 'ipip') return 'an unknown configuration';
  if (tunnel.local !== local) return `the local address ${tunnel.local ?? 'any'}`;
  if (tunnel.remote !== undefined) return `the remote address ${tunnel.remote}`;
  if (tunnel.underlay !== undefined) return 'an underlay interface of its own';
  // These two speak otherwise than the peers.
  if (tunnel.external) return 'external';
  return tunnel.encapsulated ? 'an encapsulation' : undefined;
}
