// The kernel's two tables of a vxlan device, held equal to the peers: neighbours (overlay address to MAC address) and
// forwarding entries (MAC address to underlay address). Both are dumped and compared, and what differs is changed in
// batches.
//
// Only permanent entries are compared: what the kernel itself puts there (multicast neighbours, answers that it waits
// for) comes and goes, and stays unless it stands where an entry of ours belongs. Permanent entries that no peer calls
// for are removed: the device is ours, and nobody expects packets that leave by them.
//
// Two peers of one VTEP MAC address but two underlay addresses cannot both be served; the first of the plan is, the
// other is told as a problem. Texts are compared as they are, so those of a plan have to be canonical.

import type { VtepPeer, VxlanDevicePlan } from '../../backend/plan.ts';
import { KerseyError } from '../../errors.ts';
import type { Netlink } from '../../netlink/client.ts';
import type { ForwardingEntry, ForwardingOperation } from '../../netlink/fdb.ts';
import type { DeviceRef } from '../../netlink/link.ts';
import type { Neighbour, NeighbourOperation } from '../../netlink/neigh.ts';
import type { OnRepair } from './driver.ts';

export type TablesNetlink = Pick<
  Netlink,
  'neighbours' | 'changeNeighbours' | 'forwarding' | 'changeForwarding'
>;

/** What one table holds, or shall hold: addresses to MAC addresses, or these to underlay addresses. */
type Table = ReadonlyMap<string, string>;

interface Wanted {
  readonly peers: readonly VtepPeer[];
  readonly neighbours: Table;
  readonly forwarding: Table;
  readonly problems: readonly KerseyError[];
}

interface Comparison<T> {
  readonly inOrder: Table;
  readonly missing: readonly (readonly [string, string])[];
  /** Permanent entries of other keys. */
  readonly surplus: readonly T[];
}

/** How many entries a line of the log names. */
const namedEntries = 3;

export class VtepTables {
  readonly #netlink: TablesNetlink;
  readonly #onRepair: OnRepair;
  /** The device that the two below are about. */
  #device: number | undefined;
  /** What had been put in order; undefined before the first time, when nothing that is found counts as a repair. */
  #neighbours: Table | undefined;
  #forwarding: Table | undefined;
  #wanted: Wanted | undefined;

  constructor(netlink: TablesNetlink, onRepair: OnRepair) {
    this.#netlink = netlink;
    this.#onRepair = onRepair;
  }

  /** What was in order is not expected to be there still, so that to put it back is no repair. */
  forget(): void {
    this.#neighbours = undefined;
    this.#forwarding = undefined;
  }

  /** @returns what could not be done */
  apply({ peers, family }: VxlanDevicePlan, device: DeviceRef): readonly KerseyError[] {
    if (device.index !== this.#device) this.forget();
    this.#device = device.index;
    if (this.#wanted?.peers !== peers) this.#wanted = wantedOf(peers);
    const { neighbours, forwarding, problems } = this.#wanted;
    const presentForwarding = this.#netlink.forwarding(device);
    const entries = compare(presentForwarding, forwarding, ({ mac }) => mac, leadsTo);
    const hosts = compare(
      this.#netlink.neighbours(family, device),
      neighbours,
      ({ ip }) => ip,
      ({ mac }) => mac,
    );
    this.#tell('fdb', device, entries, forwarding, this.#forwarding, ({ mac }) => mac);
    this.#tell('neighbour', device, hosts, neighbours, this.#neighbours, ({ ip }) => ip);

    // In this order no address ever has a MAC address that leads nowhere.
    const refusedEntries = this.#netlink.changeForwarding(
      entries.missing.flatMap(([mac, dst]) => settingOf(presentForwarding, { device, mac, dst })),
    );
    const refusedHosts = this.#netlink.changeNeighbours([
      ...hosts.missing.map(([ip, mac]): NeighbourOperation => {
        return { action: 'replace', neighbour: { device, ip, mac } };
      }),
      ...hosts.surplus.map(({ ip, mac = '' }): NeighbourOperation => {
        return { action: 'delete', neighbour: { device, ip, mac } };
      }),
    ]);
    const refusedRemovals = this.#netlink.changeForwarding(
      entries.surplus.map((entry) => ({ action: 'delete', entry: asChange(entry, device) })),
    );
    this.#forwarding = refusedEntries.length === 0 ? forwarding : entries.inOrder;
    this.#neighbours = refusedHosts.length === 0 ? neighbours : hosts.inOrder;
    return [...problems, ...refusedEntries, ...refusedHosts, ...refusedRemovals];
  }

  #tell<T>(
    kind: 'neighbour' | 'fdb',
    device: DeviceRef,
    { missing, surplus }: Comparison<T>,
    wanted: Table,
    before: Table | undefined,
    keyOf: (entry: T) => string,
  ): void {
    if (before === undefined) return;
    const lost = missing.map(([key]) => key).filter((key) => before.get(key) === wanted.get(key));
    // An entry whose lease has gone is no repair.
    const foreign = surplus.map(keyOf).filter((key) => !before.has(key));
    const things = kind === 'fdb' ? 'forwarding entry' : 'neighbour';
    if (lost.length > 0) {
      this.#onRepair(kind, `${device.name}: put back the ${things} ${list(lost)}`, lost.length);
    }
    if (foreign.length > 0) {
      const what = `${device.name}: removed the ${things} ${list(foreign)}, which no lease calls for`;
      this.#onRepair(kind, what, foreign.length);
    }
  }
}

function compare<T extends Neighbour | ForwardingEntry>(
  present: readonly T[],
  wanted: Table,
  keyOf: (entry: T) => string,
  valueOf: (entry: T) => string | undefined,
): Comparison<T> {
  const inOrder = new Map<string, string>();
  const surplus: T[] = [];
  for (const entry of present) {
    if (!entry.permanent) continue;
    const key = keyOf(entry);
    const value = wanted.get(key);
    if (value === undefined) surplus.push(entry);
    else if (valueOf(entry) === value) inOrder.set(key, value);
  }
  return { inOrder, missing: [...wanted].filter(([key]) => !inOrder.has(key)), surplus };
}

/** Where frames go by the entry when it is as we make them. */
function leadsTo({ dst, port, vni, via }: ForwardingEntry): string | undefined {
  return port === undefined && vni === undefined && via === undefined ? dst : undefined;
}

/** A nexthop object cannot be replaced by an address, only deleted first. */
function settingOf(
  present: readonly ForwardingEntry[],
  entry: { readonly device: DeviceRef; readonly mac: string; readonly dst: string },
): readonly ForwardingOperation[] {
  const { device, mac } = entry;
  const set: ForwardingOperation = { action: 'replace', entry };
  const nexthop = present.some((other) => other.mac === mac && other.dst === undefined);
  return nexthop ? [{ action: 'delete', entry: { device, mac } }, set] : [set];
}

function asChange(
  { mac, dst, port, vni, via }: ForwardingEntry,
  device: DeviceRef,
): ForwardingOperation['entry'] {
  return {
    device,
    mac,
    ...(dst !== undefined && { dst }),
    ...(port !== undefined && { port }),
    ...(vni !== undefined && { vni }),
    ...(via !== undefined && { via }),
  };
}

function wantedOf(peers: readonly VtepPeer[]): Wanted {
  const neighbours = new Map<string, string>();
  const forwarding = new Map<string, string>();
  const problems: KerseyError[] = [];
  for (const { prefix, address, outer, vtepMac } of peers) {
    if (!neighbours.has(address)) neighbours.set(address, vtepMac);
    const first = forwarding.get(vtepMac);
    if (first === undefined) forwarding.set(vtepMac, outer);
    else if (first !== outer) problems.push(sharedMac(prefix, outer, vtepMac, first));
  }
  return { peers, neighbours, forwarding, problems };
}

function sharedMac(prefix: string, outer: string, vtepMac: string, first: string): KerseyError {
  return new KerseyError(
    'NETLINK',
    `${prefix} at ${outer} cannot be reached: its VtepMAC ${vtepMac} is also that of ${first}`,
    { remedy: `have one of the two hosts take another: ip link delete its flannel device and restart it` },
  );
}

function list(keys: readonly string[]): string {
  const rest = keys.length - namedEntries;
  return `${keys.slice(0, namedEntries).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}
