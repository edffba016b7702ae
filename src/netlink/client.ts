// Devices, addresses and routes of the network namespace that this process is in: asked for and changed.
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
import { decodeLink, encodeLinkChange, encodeLinkDelete, encodeLinkQuery } from './link.ts';
import type { DeviceRef, Link, LinkChange } from './link.ts';
import { attempt, refusal } from './refusal.ts';
import { decodeRoute, describeRoute, encodeRouteChange, encodeRouteDump, encodeRouteGet } from './route.ts';
import type { Route, RouteChange } from './route.ts';
import { decodeMessages } from './wire.ts';
import type { Message } from './wire.ts';

export interface RouteOperation {
  readonly action: 'replace' | 'delete';
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

  /** The main table: all of it, or what leads to one device. */
  routes(family: Family, device?: DeviceRef): readonly Route[] {
    const request = encodeRouteDump(NLM_F.DUMP, family, device?.index);
    // A table that nobody has written to yet may not exist.
    const messages = absent(['ENOENT'], () => this.#ask('list the routes', request)) ?? [];
    return (
      messages
        .map(decodeRoute)
        .filter((route) => route !== undefined)
        // Kernels before 4.20 do not filter.
        .filter((route) => route.family === family && route.table === RT_TABLE.MAIN)
        .filter((route) => device === undefined || route.device === device.index)
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
    this.#ask(`set the route ${describeRoute(route)}`, encodeOperation({ action: 'replace', route }));
  }

  deleteRoute(route: RouteChange): void {
    const what = `delete the route ${describeRoute(route)}`;
    absent(['ESRCH'], () => this.#ask(what, encodeOperation({ action: 'delete', route })));
  }

  /** Carries out all of them, whatever happens to some, and returns what was refused. */
  changeRoutes(operations: readonly RouteOperation[]): readonly KerseyError[] {
    const errors: KerseyError[] = [];
    for (let at = 0; at < operations.length; at += batchSize) {
      errors.push(...this.#changeBatch(operations.slice(at, at + batchSize)));
    }
    return errors;
  }

  #changeBatch(operations: readonly RouteOperation[]): readonly KerseyError[] {
    const request = Buffer.concat(operations.map(encodeOperation));
    const errors: KerseyError[] = [];
    for (const message of this.#exchange('change routes', request)) {
      const verdict = verdictOf(message);
      const operation = operations[message.sequence];
      if (verdict === undefined || verdict.errno === 0 || operation === undefined) continue;
      const { action, route } = operation;
      const error = refusal(
        `${action === 'replace' ? 'set' : 'delete'} the route ${describeRoute(route)}`,
        verdict,
      );
      if (action === 'replace' || errnoName(error.cause) !== 'ESRCH') errors.push(error);
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

function encodeOperation({ action, route }: RouteOperation): Uint8Array {
  return action === 'replace'
    ? encodeRouteChange(RTM.NEWROUTE, NLM_F.CREATE | NLM_F.REPLACE, route)
    : encodeRouteChange(RTM.DELROUTE, 0, route);
}

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
