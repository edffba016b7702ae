// What changes in devices, addresses and routes, as the kernel tells it.
//
// Node cannot wait for a netlink socket, so whoever opened this calls take() now and then. Events tell that something
// happened, not what is true now: whoever acts on them compares the whole state anew. So it does no harm that the
// kernel throws events away when nobody takes them in time; `lost` says that it did.

import { isNativeError } from '../native/binding.ts';
import { native } from '../native/loader.ts';
import { decodeAddress } from './address.ts';
import type { Address } from './address.ts';
import { GROUP, NETLINK_ROUTE, RTM } from './constants.ts';
import { decodeLink } from './link.ts';
import type { Link } from './link.ts';
import { attempt } from './refusal.ts';
import { decodeRoute, isCloned } from './route.ts';
import type { Route } from './route.ts';
import { decodeMessages } from './wire.ts';
import type { Message } from './wire.ts';

export type NetlinkEvent =
  | { readonly kind: 'link'; readonly gone: boolean; readonly link: Link }
  | { readonly kind: 'address'; readonly gone: boolean; readonly address: Address }
  | { readonly kind: 'route'; readonly gone: boolean; readonly route: Route }
  | { readonly kind: 'lost' };

const groups = Object.values(GROUP).reduce((mask, group) => mask | group, 0);

export class NetlinkEvents {
  readonly #fd: number;
  #closed = false;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  static open(): NetlinkEvents {
    const open = (): number => native().netlinkOpen(NETLINK_ROUTE, groups);
    return new NetlinkEvents(attempt('subscribe to network events', open));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    native().netlinkClose(this.#fd);
  }

  /** Everything that came since the last call, without waiting; at most `limit` datagrams of it. */
  take(limit = 1024): readonly NetlinkEvent[] {
    const events: NetlinkEvent[] = [];
    for (let i = 0; i < limit && !this.#closed; i++) {
      const datagram = this.#receive();
      if (datagram === undefined) break;
      if (datagram === 'lost') events.push({ kind: 'lost' });
      else events.push(...decodeMessages(datagram).flatMap(decodeEvent));
    }
    return events;
  }

  #receive(): Uint8Array | 'lost' | undefined {
    try {
      return native().netlinkReceive(this.#fd);
    } catch (error) {
      const name = isNativeError(error) ? error.errnoName : undefined;
      if (name === 'ENOBUFS' || name === 'EMSGSIZE') return 'lost';
      throw error;
    }
  }
}

export function decodeEvent(message: Message): readonly NetlinkEvent[] {
  switch (message.type) {
    case RTM.NEWLINK:
    case RTM.DELLINK: {
      const link = decodeLink(message);
      return link === undefined ? [] : [{ kind: 'link', gone: message.type === RTM.DELLINK, link }];
    }
    case RTM.NEWADDR:
    case RTM.DELADDR: {
      const address = decodeAddress(message);
      return address === undefined ? [] : [{ kind: 'address', gone: message.type === RTM.DELADDR, address }];
    }
    case RTM.NEWROUTE:
    case RTM.DELROUTE: {
      const route = decodeRoute(message);
      if (route === undefined || isCloned(message)) return [];
      return [{ kind: 'route', gone: message.type === RTM.DELROUTE, route }];
    }
    default:
      return [];
  }
}
