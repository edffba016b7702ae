// What the drivers of the kernel's own tunnel devices have in common.
//
// A device of the name that fits is adopted, so that a restart, ours or flannel's, interrupts nothing. One of the same
// kind that does not fit is made again, because the kernel changes almost nothing of one that exists. A device of
// another kind is somebody else's and is left alone. The device stays when the driver is closed: the kernel goes on
// forwarding, as flannel leaves it.

import type { IpipDevicePlan, VxlanDevicePlan } from '../../backend/plan.ts';
import type { EngineStats } from '../../engine/engine.ts';
import { errnoName, KerseyError } from '../../errors.ts';
import type { Netlink } from '../../netlink/client.ts';
import type { Link, LinkCreate } from '../../netlink/link.ts';
import type { DeviceDriver, DeviceState, OnRepair } from './driver.ts';

export type KernelDevicePlan = VxlanDevicePlan | IpipDevicePlan;
export type KernelDeviceNetlink = Pick<Netlink, 'link' | 'links' | 'createLink' | 'deleteLink'>;

/** The device that the last ensure() returned. */
interface Ensured {
  readonly index: number;
  readonly name: string;
  /** What it was made for: the same again is no change of plan, so a difference is damage. */
  readonly configuration: string;
}

export abstract class KernelDevice<P extends KernelDevicePlan> implements DeviceDriver<P> {
  abstract readonly kind: P['kind'];
  protected readonly onRepair: OnRepair;
  readonly #netlink: KernelDeviceNetlink;
  #ensured: Ensured | undefined;
  #closed = false;

  protected constructor(netlink: KernelDeviceNetlink, onRepair: OnRepair) {
    this.#netlink = netlink;
    this.onRepair = onRepair;
  }

  /** The device as it has to be. @throws KerseyError when that cannot be told */
  protected abstract wanted(plan: P): LinkCreate;
  /** Equal for plans that one device serves. */
  protected abstract configurationOf(plan: P): string;
  /** Why the device does not fit, to be read after "has"; undefined when it does. */
  protected abstract differenceOf(present: Link, wanted: LinkCreate): string | undefined;
  /** The device for which the kernel refuses to make ours (EEXIST), whatever its name. */
  protected abstract holderOf(plan: P): Link | undefined;
  protected abstract taken(plan: P, holder: Link | undefined, cause: KerseyError): KerseyError;
  abstract applyPeers(plan: P, link: Link): readonly KerseyError[];

  /** Sets what can be set of a device that fits; `settled` when it had been in order. */
  protected adopt(_plan: P, present: Link, _settled: boolean): Link {
    return present;
  }

  /** @throws KerseyError IFACE_NOT_FOUND, DEVICE_TAKEN, PERMISSION, NETLINK */
  ensure(plan: P): Link {
    this.assertOpen(plan);
    const wanted = this.wanted(plan);
    const configuration = this.configurationOf(plan);
    const settled = this.#ensured?.configuration === configuration ? this.#ensured : undefined;
    const present = linkOf(this.#netlink, plan.name, this.kind);
    if (present === undefined) this.#removeRenamed();
    const misfit = present && this.differenceOf(present, wanted);
    const link =
      present !== undefined && misfit === undefined
        ? this.adopt(plan, present, settled !== undefined)
        : this.#make(plan, wanted, present);
    this.#ensured = { index: link.index, name: link.name, configuration };
    if (settled === undefined) return link;
    const damage = damageOf(present, misfit, settled.index);
    if (damage !== undefined) this.onRepair('device', `${plan.name} ${damage}`);
    return link;
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
    const { name } = this.#ensured;
    const link = this.#netlink.link(name);
    if (link?.kind === this.kind && link.name === name) this.#netlink.deleteLink(link);
  }

  protected assertOpen({ name }: P): void {
    if (this.#closed) throw new KerseyError('INTERNAL', `the driver of ${name} was used after it was closed`);
  }

  /** Our device under another name has our addresses or our VNI and port, and keeps a new one from being made. */
  #removeRenamed(): void {
    const index = this.#ensured?.index;
    const renamed = this.#netlink.links().find((link) => link.index === index && link.kind === this.kind);
    if (renamed !== undefined) this.#netlink.deleteLink(renamed);
  }

  #make(plan: P, wanted: LinkCreate, misfit: Link | undefined): Link {
    if (misfit !== undefined) this.#netlink.deleteLink(misfit);
    try {
      return this.#netlink.createLink(wanted);
    } catch (error) {
      if (!(error instanceof KerseyError) || errnoName(error.cause) !== 'EEXIST') throw error;
      const holder = this.holderOf(plan);
      if (holder === undefined || holder.index !== this.#ensured?.index) {
        throw this.taken(plan, holder, error);
      }
      // Ours, under a name that somebody else gave it.
      this.#netlink.deleteLink(holder);
      return this.#netlink.createLink(wanted);
    }
  }
}

/**
 * The device of that name when it is of the kind.
 * @throws KerseyError DEVICE_TAKEN when it is of another
 */
function linkOf(
  netlink: KernelDeviceNetlink,
  name: string,
  kind: KernelDevicePlan['kind'],
): Link | undefined {
  const link = netlink.link(name);
  if (link === undefined || (link.kind === kind && link.name === name)) return link;
  // The kernel finds devices by their alternative names too.
  const other = link.name === name ? '' : ` (${link.name})`;
  const found = link.kind ?? 'another';
  throw new KerseyError(
    'DEVICE_TAKEN',
    `a network device named ${name}${other} exists already, of the kind ${found} instead of ${kind}`,
    {
      remedy: `stop what made it, or remove it: ip link delete ${link.name}`,
    },
  );
}

/** What happened to a device that had been in order, to be read after its name. */
function damageOf(present: Link | undefined, misfit: string | undefined, index: number): string | undefined {
  if (present === undefined) return 'was gone; made again';
  if (misfit !== undefined) return `had ${misfit}; made again`;
  return present.index === index ? undefined : 'was made again by somebody else; adopted';
}
