// The kernel's own vxlan device, as flannel makes it: `flannel.<VNI>`, unicast, no group, learning as configured.
//
// The rules for a device that exists are those of kernel-device.ts; of one that fits only the MAC address is set to the
// lease's.
//
// The kernel binds the UDP port when the device is set up, not when it is made; explain() knows what its refusal means.

import type { VxlanDevicePlan } from '../../backend/plan.ts';
import { errnoName, KerseyError } from '../../errors.ts';
import type { Netlink } from '../../netlink/client.ts';
import type { Link, LinkCreate } from '../../netlink/link.ts';
import type { VxlanTunnel } from '../../netlink/vxlan-link.ts';
import type { OnRepair } from './driver.ts';
import { KernelDevice } from './kernel-device.ts';
import type { KernelDeviceNetlink } from './kernel-device.ts';
import type { TablesNetlink } from './vtep-tables.ts';
import { VtepTables } from './vtep-tables.ts';

export interface VxlanDeviceOptions {
  readonly netlink: VxlanNetlink;
  readonly onRepair: OnRepair;
}

export type VxlanNetlink = TablesNetlink & KernelDeviceNetlink & Pick<Netlink, 'setLink'>;

export class VxlanDevice extends KernelDevice<VxlanDevicePlan> {
  readonly kind = 'vxlan';
  readonly #netlink: VxlanNetlink;
  readonly #tables: VtepTables;

  constructor({ netlink, onRepair }: VxlanDeviceOptions) {
    super(netlink, onRepair);
    this.#netlink = netlink;
    this.#tables = new VtepTables(netlink, onRepair);
  }

  applyPeers(plan: VxlanDevicePlan, link: Link): readonly KerseyError[] {
    this.assertOpen(plan);
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

  protected wanted(plan: VxlanDevicePlan): LinkCreate {
    const underlay = this.#netlink.link(plan.underlay);
    if (underlay === undefined) {
      throw new KerseyError('IFACE_NOT_FOUND', `${plan.name} cannot be made: ${plan.underlay} is gone`, {
        remedy: 'see `ip link` for the interfaces there are',
      });
    }
    const { name, mtu, mac, vni, port, local, learning, gbp } = plan;
    const tunnel = { kind: 'vxlan', vni, port, local, underlay: underlay.index, learning, gbp } as const;
    return { name, mtu, mac, tunnel };
  }

  protected configurationOf({ vni, port, local, underlay, mac, learning, gbp }: VxlanDevicePlan): string {
    return JSON.stringify({ vni, port, local, underlay, mac, learning, gbp });
  }

  /** What flannel compares, and learning. */
  protected differenceOf({ tunnel }: Link, { tunnel: wanted }: LinkCreate): string | undefined {
    if (tunnel?.kind !== 'vxlan' || wanted.kind !== 'vxlan') return 'an unknown configuration';
    const differing = compared.find((key) => tunnel[key] !== wanted[key]);
    if (differing !== undefined) return `${differing} ${String(tunnel[differing])}`;
    if (tunnel.group !== undefined) return `the group ${tunnel.group}`;
    if (tunnel.l2miss) return 'l2miss';
    // These two need another user of the device, or another wire.
    if (tunnel.external) return 'external';
    return tunnel.gpe ? 'gpe' : undefined;
  }

  protected override adopt(plan: VxlanDevicePlan, present: Link, settled: boolean): Link {
    if (present.mac === plan.mac) return present;
    this.#netlink.setLink(present, { mac: plan.mac });
    // The kernel has dropped all neighbours of the old address (neigh_changeaddr).
    this.#tables.forget();
    if (settled) this.onRepair('link', `${plan.name}: set the MAC address ${plan.mac}`);
    return { ...present, mac: plan.mac };
  }

  /** The kernel has one device for a VNI, a port and a family of the underlay. */
  protected holderOf({ vni, port, local }: VxlanDevicePlan): Link | undefined {
    const isIPv6 = (address = ''): boolean => address.includes(':');
    return this.#netlink.links().find(({ tunnel }) => {
      if (tunnel?.kind !== 'vxlan' || tunnel.vni !== vni || tunnel.port !== port) return false;
      return isIPv6(tunnel.local ?? tunnel.group) === isIPv6(local);
    });
  }

  protected taken(
    { name, vni, port }: VxlanDevicePlan,
    holder: Link | undefined,
    cause: KerseyError,
  ): KerseyError {
    // A device that was moved to another network namespace keeps its VNI in the one where it was made.
    const who =
      holder === undefined
        ? 'a vxlan device in another network namespace'
        : `the vxlan device ${holder.name}`;
    const remedy =
      holder === undefined
        ? 'see `ip netns` and `ip -n NAME link show type vxlan` for it'
        : `stop what made it, or remove it: ip link delete ${holder.name}`;
    return new KerseyError('DEVICE_TAKEN', `${name} cannot be made: ${who} has VNI ${vni} on port ${port}`, {
      remedy,
      cause,
    });
  }
}

const compared = [
  'vni',
  'port',
  'local',
  'underlay',
  'learning',
  'gbp',
] as const satisfies readonly (keyof VxlanTunnel)[];
