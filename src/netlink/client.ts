// Devices, addresses, routes, neighbours and forwarding entries of the network namespace that this process is in: asked for and changed.
//
// Every call is answered by the kernel at once, so the calls are synchronous. What the kernel refuses becomes a
// KerseyError that names the object, the kernel's words and the errno; errnoName(error.cause) has the errno alone.
// Deleting what is not there is not an error: the caller wanted it gone.

import { errnoName, KerseyError } from '../errors.ts';
import { parseCidr } from '../net/cidr.ts';
import { parseIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import { native } from '../native/loader.ts';
import { verdictOf } from './ack.ts';
import { decodeAddress, encodeAddressChange, encodeAddressDump } from './address.ts';
import type { Address, AddressChange } from './address.ts';
import { NETLINK_ROUTE, NLM_F, RT_TABLE, RTM } from './constants.ts';
import { decodeForwarding, describeForwarding, encodeForwardingChange, encodeForwardingDump } from './fdb.ts';
import type { ForwardingEntry, ForwardingOperation } from './fdb.ts';
import { decodeLink, encodeLinkChange, encodeLinkCreate, encodeLinkDelete, encodeLinkQuery } from './link.ts';
import type { DeviceRef, Link, LinkChange, LinkCreate } from './link.ts';
import { decodeNeighbour, describeNeighbour, encodeNeighbourChange, encodeNeighbourDump } from './neigh.ts';
import type { Neighbour, NeighbourOperation } from './neigh.ts';
import { attempt, refusal } from './refusal.ts';
import { decodeRoute, describeRoute, encodeRouteChange, encodeRouteDump, encodeRouteGet } from './route.ts';
import type { Route, RouteChange } from './route.ts';
import { decodeMessages } from './wire.ts';
import type { Message } from './wire.ts';

export interface RouteOperation {
  /** `add` is refused (EEXIST) where a route of that metric is; `replace` takes its place. */
  readonly action: 'add' | 'replace' | 'delete';
  readonly route: RouteChange;
}

/** As many messages as the native side takes at a time (KY_NETLINK_BATCH_MAX). */
const batchSize = 128;

export class Netlink {
  readonly #fd: number;
  #closed = false;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  static open(): Netlink {
    return new Netlink(attempt('open a netlink socket', () => native().netlinkOpen(NETLINK_ROUTE, 0)));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    native().netlinkClose(this.#fd);
  }

  links(): readonly Link[] {
    const messages = this.#ask('list the devices', encodeLinkQuery(NLM_F.DUMP, {}));
    return messages.map(decodeLink).filter((link) => link !== undefined);
  }

  link(name: string): Link | undefined {
    const what = `look up the device ${name}`;
    const messages = absent(['ENODEV'], () => this.#ask(what, encodeLinkQuery(0, { name })));
    return messages?.map(decodeLink).find((link) => link !== undefined);
  }

  setLink(device: DeviceRef, change: LinkChange): void {
    const words = Object.entries(change).map(([key, value]) => `${key} ${String(value)}`);
    this.#ask(`set ${words.join(', ')} on ${device.name}`, encodeLinkChange(device.index, change));
  }

  /** @returns the new device, which is down */
  createLink(create: LinkCreate): Link {
    const { name, tunnel } = create;
    this.#ask(`make the ${tunnel.kind} device ${name}`, encodeLinkCreate(create));
    const link = this.link(name);
    if (link !== undefined) return link;
    throw new KerseyError('NETLINK', `the device ${name} was gone as soon as it was made`, {
      remedy: 'see who removes or renames it with `ip monitor link`',
    });
  }

  deleteLink(device: DeviceRef): void {
    absent(['ENODEV'], () => this.#ask(`delete the device ${device.name}`, encodeLinkDelete(device.index)));
  }

  /** Of all devices, or of one. */
  addresses(device?: DeviceRef): readonly Address[] {
    return this.#ask('list the addresses', encodeAddressDump(NLM_F.DUMP))
      .map(decodeAddress)
      .filter((address) => address !== undefined)
      .filter((address) => device === undefined || address.index === device.index);
  }

  /** `address` with its length: `10.5.1.0/32`. */
  addAddress(device: DeviceRef, address: string): void {
    const request = encodeAddressChange(
      RTM.NEWADDR,
      NLM_F.CREATE | NLM_F.REPLACE,
      addressChange(device, address),
    );
    this.#ask(`add the address ${address} to ${device.name}`, request);
  }

  deleteAddress(device: DeviceRef, address: string): void {
    const request = encodeAddressChange(RTM.DELADDR, 0, addressChange(device, address));
    const what = `delete the address ${address} of ${device.name}`;
    absent(['EADDRNOTAVAIL'], () => this.#ask(what, request));
  }

  /** The main table: all of it, or what leads to one device, or what carries one protocol number. */
  routes(family: Family, device?: DeviceRef, protocol?: number): readonly Route[] {
    const request = encodeRouteDump(NLM_F.DUMP, family, device?.index, protocol);
    // A table that nobody has written to yet may not exist.
    const messages = absent(['ENOENT'], () => this.#ask('list the routes', request)) ?? [];
    return (
      messages
        .map(decodeRoute)
        .filter((route) => route !== undefined)
        // Kernels before 4.20 do not filter.
        .filter((route) => route.family === family && route.table === RT_TABLE.MAIN)
        .filter((route) => device === undefined || route.device === device.index)
        .filter((route) => protocol === undefined || route.protocol === protocol)
    );
  }

  /** How a packet to `ip` would leave; undefined when it would not. */
  routeGet(ip: string): Route | undefined {
    const request = encodeRouteGet(parseIp(ip).family, ip);
    const messages = absent(['ENETUNREACH', 'EHOSTUNREACH', 'EACCES', 'EINVAL'], () =>
      this.#ask(`look up the route to ${ip}`, request),
    );
    return messages?.map(decodeRoute).find((route) => route !== undefined);
  }

  replaceRoute(route: RouteChange): void {
    const operation: RouteOperation = { action: 'replace', route };
    this.#ask(routeChanges.describe(operation), routeChanges.encode(operation));
  }

  deleteRoute(route: RouteChange): void {
    const operation: RouteOperation = { action: 'delete', route };
    absent([routeChanges.absent], () =>
      this.#ask(routeChanges.describe(operation), routeChanges.encode(operation)),
    );
  }

  /** Carries out all of them, whatever happens to some, and returns what was refused. */
  changeRoutes(operations: readonly RouteOperation[]): readonly KerseyError[] {
    return this.#change(routeChanges, operations);
  }

  /** What the device has of the family, entries that come and go by themselves too. */
  neighbours(family: Family, device: DeviceRef): readonly Neighbour[] {
    const what = `list the neighbours of ${device.name}`;
    return this.#ask(what, encodeNeighbourDump(NLM_F.DUMP, family, device.index))
      .map(decodeNeighbour)
      .filter((neighbour) => neighbour !== undefined)
      .filter((neighbour) => neighbour.family === family && neighbour.device === device.index);
  }

  /** As changeRoutes. */
  changeNeighbours(operations: readonly NeighbourOperation[]): readonly KerseyError[] {
    return this.#change(neighbourChanges, operations);
  }

  forwarding(device: DeviceRef): readonly ForwardingEntry[] {
    return (
      this.#ask(
        `list the forwarding entries of ${device.name}`,
        encodeForwardingDump(NLM_F.DUMP, device.index),
      )
        .map(decodeForwarding)
        .filter((entry) => entry !== undefined)
        // Kernels before 4.20 do not filter.
        .filter((entry) => entry.device === device.index)
    );
  }

  /** As changeRoutes. */
  changeForwarding(operations: readonly ForwardingOperation[]): readonly KerseyError[] {
    return this.#change(forwardingChanges, operations);
  }

  #change<T extends Operation>(kind: Changes<T>, operations: readonly T[]): readonly KerseyError[] {
    const errors: KerseyError[] = [];
    for (let at = 0; at < operations.length; at += batchSize) {
      errors.push(...this.#changeBatch(kind, operations.slice(at, at + batchSize)));
    }
    return errors;
  }

  #changeBatch<T extends Operation>(kind: Changes<T>, operations: readonly T[]): readonly KerseyError[] {
    const request = Buffer.concat(operations.map(kind.encode));
    const errors: KerseyError[] = [];
    for (const message of this.#exchange(`change ${kind.things}`, request)) {
      const verdict = verdictOf(message);
      const operation = operations[message.sequence];
      if (verdict === undefined || verdict.errno === 0 || operation === undefined) continue;
      const error = refusal(kind.describe(operation), verdict);
      if (operation.action !== 'delete' || errnoName(error.cause) !== kind.absent) errors.push(error);
    }
    return errors;
  }

  /** One request and the messages of its answer, without the verdict. */
  #ask(what: string, request: Uint8Array): readonly Message[] {
    const answer: Message[] = [];
    for (const message of this.#exchange(what, request)) {
      const verdict = verdictOf(message);
      if (verdict === undefined) answer.push(message);
      else if (verdict.errno !== 0) throw refusal(what, verdict);
    }
    return answer;
  }

  #exchange(what: string, request: Uint8Array): readonly Message[] {
    if (this.#closed) throw new KerseyError('INTERNAL', `cannot ${what}: the netlink socket is closed`);
    return decodeMessages(attempt(what, () => native().netlinkRequest(this.#fd, request)));
  }
}

interface Operation {
  readonly action: 'add' | 'replace' | 'append' | 'delete';
}

/** What is particular to one kind of entry that is changed in batches. */
interface Changes<T extends Operation> {
  readonly things: string;
  readonly encode: (operation: T) => Uint8Array;
  /** Completes "cannot ...". */
  readonly describe: (operation: T) => string;
  /** What the kernel says to the deletion of what is not there. */
  readonly absent: string;
}

const verbs = { add: 'add', replace: 'set', append: 'add', delete: 'delete' } as const;

const newFlags = {
  add: NLM_F.CREATE | NLM_F.EXCL,
  replace: NLM_F.CREATE | NLM_F.REPLACE,
  append: NLM_F.CREATE | NLM_F.APPEND,
} as const;

const routeChanges: Changes<RouteOperation> = {
  things: 'routes',
  encode: ({ action, route }) =>
    action === 'delete'
      ? encodeRouteChange(RTM.DELROUTE, 0, route)
      : encodeRouteChange(RTM.NEWROUTE, newFlags[action], route),
  describe: ({ action, route }) => `${verbs[action]} the route ${describeRoute(route)}`,
  absent: 'ESRCH',
};

const neighbourChanges: Changes<NeighbourOperation> = {
  things: 'neighbours',
  encode: ({ action, neighbour }) =>
    action === 'delete'
      ? encodeNeighbourChange(RTM.DELNEIGH, 0, neighbour)
      : encodeNeighbourChange(RTM.NEWNEIGH, newFlags[action], neighbour),
  describe: ({ action, neighbour }) => `${verbs[action]} the neighbour ${describeNeighbour(neighbour)}`,
  absent: 'ENOENT',
};

const forwardingChanges: Changes<ForwardingOperation> = {
  things: 'forwarding entries',
  encode: ({ action, entry }) =>
    action === 'delete'
      ? encodeForwardingChange(RTM.DELNEIGH, 0, entry)
      : encodeForwardingChange(RTM.NEWNEIGH, newFlags[action], entry),
  describe: ({ action, entry }) => `${verbs[action]} the forwarding entry ${describeForwarding(entry)}`,
  absent: 'ENOENT',
};

function addressChange(device: DeviceRef, address: string): AddressChange {
  const [ip = ''] = address.split('/');
  const { family, length } = parseCidr(address);
  return { index: device.index, family, ip, prefixLength: length };
}

/** Runs `request`, and takes these refusals for "it is not there". */
function absent<T>(names: readonly string[], request: () => T): T | undefined {
  try {
    return request();
  } catch (error) {
    const errno = error instanceof Error ? errnoName(error.cause) : undefined;
    if (errno !== undefined && names.includes(errno)) return undefined;
    throw error;
  }
}
