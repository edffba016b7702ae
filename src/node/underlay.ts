// The underlay that was chosen at start, followed while the node runs.
//
// The choice stays as long as its addresses are on its interface, whatever the interface is called by now: default
// routes that come and go move nothing. When an address is gone the choice is made anew by the same rules; while nothing
// fits, the last one stays and is waited for.

import { KerseyError } from '../errors.ts';
import type { Family } from '../net/ip.ts';
import type { Address } from '../netlink/address.ts';
import type { Link } from '../netlink/link.ts';
import { chooseUnderlay } from './iface.ts';
import type { HostNetwork, Underlay, UnderlayWish } from './iface.ts';

export class UnderlayKeeper {
  readonly #wish: UnderlayWish;
  readonly #families: readonly Family[];
  readonly #host: HostNetwork;
  #current: Underlay;

  /** Chooses. @throws KerseyError IFACE_NOT_FOUND, ADDRESS_NOT_LOCAL, USAGE */
  constructor(wish: UnderlayWish, families: readonly Family[], host: HostNetwork) {
    this.#wish = wish;
    this.#families = families;
    this.#host = host;
    this.#current = chooseUnderlay(wish, families, host);
  }

  get current(): Underlay {
    return this.#current;
  }

  /** Brings the choice up to date. @returns what is amiss with it, in words */
  follow(links: readonly Link[], addresses: readonly Address[]): readonly string[] {
    const before = this.#current;
    const present = links.find(({ index }) => index === before.link.index);
    const missing = chosen(before).filter(
      (ip) => !addresses.some(({ index, ip: held }) => index === present?.index && held === ip),
    );
    if (present !== undefined && missing.length === 0) {
      this.#current = { ...before, link: present };
      return present.up && present.lowerUp ? [] : [`the underlay interface ${present.name} is down`];
    }
    try {
      this.#current = chooseUnderlay(this.#wish, this.#families, this.#host);
      return [];
    } catch (error) {
      const what =
        present === undefined
          ? `the underlay interface ${before.link.name} is gone`
          : `the underlay address ${missing.join(' and ')} is no longer on ${present.name}`;
      return [`${what}, and no other fits (${KerseyError.from(error).message}); waiting for one`];
    }
  }
}

function chosen({ ipv4, ipv6 }: Underlay): readonly string[] {
  return [ipv4, ipv6].flatMap((end) => (end === undefined ? [] : [end.address]));
}
