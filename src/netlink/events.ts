// What changes in devices, addresses, routes and neighbours, as the kernel tells it.
//
// Whoever opened this is told once that events wait, and then not again before it has called take(). Events tell that
// something happened, not what is true now: whoever acts on them compares the whole state anew. So it does no harm that
// the kernel throws events away when nobody takes them in time; `lost` says that it did.
//
// A storm, another program that changes 100,000 routes, may not take all our time: after take() nobody is told for nine
// times as long as the taking took. An event that comes alone is told at once.

import { isNativeError } from '../native/binding.ts';
import { native } from '../native/loader.ts';
import { decodeAddress } from './address.ts';
import type { Address } from './address.ts';
import { AF, GROUP, NETLINK_ROUTE, NUD, RTM } from './constants.ts';
import { decodeLink } from './link.ts';
import type { Link } from './link.ts';
import { decodeNeighbourHead } from './neigh.ts';
import { attempt } from './refusal.ts';
import { decodeRoute, isCloned } from './route.ts';
import { SocketWatch } from './socket-watch.ts';
import type { Route } from './route.ts';
import { decodeMessages } from './wire.ts';
import type { Message } from './wire.ts';

export type NetlinkEvent =
  | { readonly kind: 'link'; readonly gone: boolean; readonly link: Link }
  | { readonly kind: 'address'; readonly gone: boolean; readonly address: Address }
  | { readonly kind: 'route'; readonly gone: boolean; readonly route: Route }
  | NeighbourEvent
  | { readonly kind: 'lost' };

/** Of the time, the share that may go into taking events; a pause ends after `longestPause` milliseconds all the same. */
const takingShare = 0.1;
const longestPause = 250;

/**
 * A neighbour or a forwarding entry. There may be many: every ARP answer is one. Not `permanent` are those that come and
 * go by themselves, but also the end of a permanent neighbour: it fails first (an event that is not `gone`) and goes then.
 */
export interface NeighbourEvent {
  readonly kind: 'neighbour';
  readonly gone: boolean;
  /** Index of the device. */
  readonly device: number;
  readonly forwarding: boolean;
  readonly permanent: boolean;
}

const groups = Object.values(GROUP).reduce((mask, group) => mask | group, 0);

export class NetlinkEvents {
  readonly #fd: number;
  readonly #watch: SocketWatch | undefined;
  #pause: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(fd: number, onReadable: (() => void) | undefined) {
    this.#fd = fd;
    this.#watch = onReadable === undefined ? undefined : new SocketWatch(fd, onReadable);
  }

  /**
   * @param onReadable called when events wait, from the event loop, and not again before take(). It does not keep the
   * process alive.
   */
  static open(onReadable?: () => void): NetlinkEvents {
    return attempt('subscribe to network events', () => {
      const fd = native().netlinkOpen(NETLINK_ROUTE, groups);
      try {
        return new NetlinkEvents(fd, onReadable);
      } catch (error) {
        native().netlinkClose(fd);
        throw error;
      }
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#pause);
    this.#watch?.close();
    native().netlinkClose(this.#fd);
  }

  /**
   * Everything that came since the last call, without waiting; at most `limit` datagrams of it.
   * @throws when the socket cannot be read; then nobody is told of events any more
   */
  take(limit = 1024): readonly NetlinkEvent[] {
    const start = performance.now();
    const events: NetlinkEvent[] = [];
    for (let i = 0; i < limit && !this.#closed; i++) {
      const datagram = this.#receive();
      if (datagram === undefined) break;
      if (datagram === 'lost') events.push({ kind: 'lost' });
      else events.push(...decodeDatagram(datagram));
    }
    this.#listen(performance.now() - start);
    return events;
  }

  /** Wants to be told again, after the pause that `cost` milliseconds ask for. */
  #listen(cost: number): void {
    if (this.#watch === undefined || this.#closed) return;
    clearTimeout(this.#pause);
    const pause = Math.min(longestPause, (cost * (1 - takingShare)) / takingShare);
    // Timers count whole milliseconds.
    if (pause < 1) this.#watch.arm();
    else this.#pause = setTimeout(() => this.#watch?.arm(), pause).unref();
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

/** What cannot be read may have been anything. */
function decodeDatagram(datagram: Uint8Array): readonly NetlinkEvent[] {
  try {
    return decodeMessages(datagram).flatMap(decodeEvent);
  } catch {
    return [{ kind: 'lost' }];
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
    case RTM.NEWNEIGH:
    case RTM.DELNEIGH: {
      const head = decodeNeighbourHead(message);
      if (head === undefined) return [];
      return [
        {
          kind: 'neighbour',
          gone: message.type === RTM.DELNEIGH,
          device: head.device,
          forwarding: head.family === AF.BRIDGE,
          permanent: (head.state & NUD.PERMANENT) !== 0,
        },
      ];
    }
    default:
      return [];
  }
}
