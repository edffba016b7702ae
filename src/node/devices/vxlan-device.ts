// The kernel's own vxlan device, as flannel makes it: `flannel.<VNI>`, unicast, no group, learning as configured.
//
// A device of the name that fits is adopted, so that a restart, ours or flannel's, interrupts nothing; only its MAC
// address is set to the lease's. A vxlan device that does not fit is made again, because the kernel changes almost
// nothing of one that exists. A device of another kind is somebody else's and is left alone.
//
// The kernel binds the UDP port when the device is set up, not when it is made; explain() knows what its refusal means.
// The device and its tables stay when the driver is closed: the kernel goes on forwarding, as flannel leaves it.

import type { VxlanDevicePlan } from '../../backend/plan.ts';
import type { EngineStats } from '../../engine/engine.ts';
import { errnoName, KerseyError } from '../../errors.ts';
import type { Netlink } from '../../netlink/client.ts';
import type { Link } from '../../netlink/link.ts';
import type { VxlanCreate, VxlanTunnel } from '../../netlink/vxlan-link.ts';
import type { DeviceDriver, DeviceState, OnRepair } from './driver.ts';
import { deviceClosed, linkOf } from './kernel-device.ts';
import type { TablesNetlink } from './vtep-tables.ts';
import { VtepTables } from './vtep-tables.ts';

export interface VxlanDeviceOptions {
  readonly netlink: VxlanNetlink;
  readonly onRepair: OnRepair;
}

export type VxlanNetlink = TablesNetlink &
  Pick<Netlink, 'link' | 'links' | 'createLink' | 'setLink' | 'deleteLink'>;

/** The device that the last ensure() returned. */
interface Ensured {
  readonly index: number;
  readonly name: string;
  /** What it was made for: the same again is no change of plan, so a difference is damage. */
  readonly configuration: string;
}

export class VxlanDevice implements DeviceDriver<VxlanDevicePlan> {
  readonly kind = 'vxlan';
  readonly #netlink: VxlanNetlink;
  readonly #onRepair: OnRepair;
  readonly #tables: VtepTables;
  #ensured: Ensured | undefined;
  #closed = false;

  constructor({ netlink, onRepair }: VxlanDeviceOptions) {
    this.#netlink = netlink;
    this.#onRepair = onRepair;
    this.#tables = new VtepTables(netlink, onRepair);
  }

  /** @throws KerseyError IFACE_NOT_FOUND, DEVICE_TAKEN, PERMISSION, NETLINK */
  ensure(plan: VxlanDevicePlan): Link {
    if (this.#closed) throw deviceClosed(plan.name);
    const wanted = this.#wanted(plan);
    const configuration = configurationOf(plan);
    const settled = this.#ensured?.configuration === configuration ? this.#ensured : undefined;
    const present = linkOf(this.#netlink, plan.name, 'vxlan');
    if (present === undefined) this.#removeRenamed();
    const damage = damageOf(present, wanted, settled?.index);
    const link =
      present !== undefined && differenceOf(present, wanted) === undefined
        ? this.#adopt(plan, present, settled !== undefined)
        : this.#make(plan, wanted, present);
    this.#ensured = { index: link.index, name: link.name, configuration };
    if (settled !== undefined && damage !== undefined) this.#onRepair('device', `${plan.name} ${damage}`);
    return link;
  }

  applyPeers(plan: VxlanDevicePlan, link: Link): readonly KerseyError[] {
    if (this.#closed) throw deviceClosed(plan.name);
    return this.#tables.apply(plan, link);
  }

  /** @returns KerseyError PORT_IN_USE in place of the kernel's words */
  explain(plan: VxlanDevicePlan, error: KerseyError): KerseyError {
    if (errnoName(error.cause) !== 'EADDRINUSE') return error;
    const port = String(plan.port);
    return new KerseyError('PORT_IN_USE', `${plan.name} cannot be set up: UDP port ${port} is taken`, {
      remedy: `see who has it: ss -ulnp sport = ${port}; a kernel vxlan device shows no process (ip -d link show type vxlan)`,
      cause: error,
    });
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
    if (link?.kind === 'vxlan' && link.name === this.#ensured.name) this.#netlink.deleteLink(link);
  }

  /** Our device under another name has our VNI and port, and keeps a new one from being made. */
  #removeRenamed(): void {
    const index = this.#ensured?.index;
    const renamed = this.#netlink.links().find((link) => link.index === index && link.kind === 'vxlan');
    if (renamed !== undefined) this.#netlink.deleteLink(renamed);
  }

  #wanted(plan: VxlanDevicePlan): Required<VxlanCreate> {
    const underlay = this.#netlink.link(plan.underlay);
    if (underlay === undefined) {
      throw new KerseyError('IFACE_NOT_FOUND', `${plan.name} cannot be made: ${plan.underlay} is gone`, {
        remedy: 'see `ip link` for the interfaces there are',
      });
    }
    const { vni, port, local, learning, gbp } = plan;
    return { kind: 'vxlan', vni, port, local, underlay: underlay.index, learning, gbp };
  }

  #adopt(plan: VxlanDevicePlan, present: Link, settled: boolean): Link {
    if (present.mac === plan.mac) return present;
    this.#netlink.setLink(present, { mac: plan.mac });
    // The kernel has dropped all neighbours of the old address (neigh_changeaddr).
    this.#tables.forget();
    if (settled) this.#onRepair('link', `${plan.name}: set the MAC address ${plan.mac}`);
    return { ...present, mac: plan.mac };
  }

  #make(plan: VxlanDevicePlan, tunnel: VxlanCreate, misfit: Link | undefined): Link {
    if (misfit !== undefined) this.#netlink.deleteLink(misfit);
    const { name, mtu, mac } = plan;
    const create = { name, mtu, mac, tunnel };
    try {
      return this.#netlink.createLink(create);
    } catch (error) {
      if (!(error instanceof KerseyError) || errnoName(error.cause) !== 'EEXIST') throw error;
      const holder = this.#holderOf(plan);
      if (holder === undefined || holder.index !== this.#ensured?.index) throw vniTaken(plan, holder, error);
      // Ours, under a name that somebody else gave it.
      this.#netlink.deleteLink(holder);
      return this.#netlink.createLink(create);
    }
  }

  /** The kernel has one device for a VNI, a port and a family of the underlay, whatever its name. */
  #holderOf({ vni, port, local }: VxlanDevicePlan): Link | undefined {
    const isIPv6 = (address = ''): boolean => address.includes(':');
    return this.#netlink.links().find(({ tunnel }) => {
      if (tunnel?.kind !== 'vxlan' || tunnel.vni !== vni || tunnel.port !== port) return false;
      return isIPv6(tunnel.local ?? tunnel.group) === isIPv6(local);
    });
  }
}

function vniTaken(
  { name, vni, port }: VxlanDevicePlan,
  holder: Link | undefined,
  cause: KerseyError,
): KerseyError {
  // A device that was moved to another network namespace keeps its VNI in the one where it was made.
  const who =
    holder === undefined ? 'a vxlan device in another network namespace' : `the vxlan device ${holder.name}`;
  const remedy =
    holder === undefined
      ? 'see `ip netns` and `ip -n NAME link show type vxlan` for it'
      : `stop what made it, or remove it: ip link delete ${holder.name}`;
  return new KerseyError('DEVICE_TAKEN', `${name} cannot be made: ${who} has VNI ${vni} on port ${port}`, {
    remedy,
    cause,
  });
}

function configurationOf({ vni, port, local, underlay, mac, learning, gbp }: VxlanDevicePlan): string {
  return JSON.stringify({ vni, port, local, underlay, mac, learning, gbp });
}

/** What happened to a device that had been in order, to be read after its name. */
function damageOf(
  present: Link | undefined,
  wanted: Required<VxlanCreate>,
  index: number | undefined,
): string | undefined {
  if (present === undefined) return 'was gone; made again';
  const difference = differenceOf(present, wanted);
  if (difference !== undefined) return `had ${difference}; made again`;
  return present.index === index ? undefined : 'was made again by somebody else; adopted';
}

/** Why the device does not fit, to be read after "has"; undefined when it does. What flannel compares, and learning. */
function differenceOf({ tunnel }: Link, wanted: Required<VxlanCreate>): string | undefined {
  if (tunnel?.kind !== 'vxlan') return 'an unknown configuration';
  const differing = compared.find((key) => tunnel[key] !== wanted[key]);
  if (differing !== undefined) return `${differing} ${String(tunnel[differing])}`;
  if (tunnel.group !== undefined) return `the group ${tunnel.group}`;
  if (tunnel.l2miss) return 'l2miss';
  // These two need another user of the device, or another wire.
  if (tunnel.external) return 'external';
  return tunnel.gpe ? 'gpe' : undefined;
}

const compared = [
  'vni',
  'port',
  'local',
  'underlay',
  'learning',
  'gbp',
] as const satisfies readonly (keyof VxlanTunnel)[];
