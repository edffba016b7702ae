// Which interface carries the underlay, and which address peers send to: flannel's choice (pkg/ipmatch).
//
//   --iface (a name or an address), each in turn, then --iface-regex, each in turn, then --iface-can-reach: the first
//   that fits an interface decides. With none of them: the interface that holds --public-ip (else --public-ipv6), else
//   the one of the default route; with both families the default routes must agree.
//
// Two addresses of a family come out. `address` is on the interface: frames leave from it. `publicAddress` is what
// peers are told; it differs when --public-ip names the outside of a NAT.
//
// Unlike flannel, an explicit choice that fits nothing is an error that lists what there is, and regular expressions
// are JavaScript's, not RE2's.

import { KerseyError } from '../errors.ts';
import { canonicalIp, parseIp, tryParseIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import type { Address } from '../netlink/address.ts';
import type { Link } from '../netlink/link.ts';
import type { Route } from '../netlink/route.ts';

export interface UnderlayWish {
  readonly ifaces: readonly string[];
  readonly ifaceRegexes: readonly string[];
  readonly ifaceCanReach?: string;
  readonly publicIp?: string;
  readonly publicIpv6?: string;
}

/** What the choice is made from; Netlink is one. */
export interface HostNetwork {
  links(): readonly Link[];
  addresses(): readonly Address[];
  routes(family: Family): readonly Route[];
  routeGet(ip: string): Route | undefined;
}

export interface UnderlayAddress {
  readonly address: string;
  readonly publicAddress: string;
}

export interface Underlay {
  readonly link: Link;
  /** There for every family that was asked for. */
  readonly ipv4?: UnderlayAddress;
  readonly ipv6?: UnderlayAddress;
  /** What led to this interface, for the log. */
  readonly why: string;
}

export function chooseUnderlay(wish: UnderlayWish, families: readonly Family[], host: HostNetwork): Underlay {
  return new Choice(wish, families, host).make();
}

interface Candidate {
  readonly link: Link;
  readonly why: string;
  /** An address that the choice itself fixes. */
  readonly ip?: string;
}

class Choice {
  readonly #wish: UnderlayWish;
  readonly #families: readonly Family[];
  readonly #host: HostNetwork;
  readonly #links: readonly Link[];
  readonly #addresses: readonly Address[];

  constructor(wish: UnderlayWish, families: readonly Family[], host: HostNetwork) {
    this.#wish = wish;
    this.#families = families;
    this.#host = host;
    this.#links = host.links();
    this.#addresses = host.addresses();
  }

  make(): Underlay {
    const { link, why, ip } = this.#candidate();
    if (link.mtu === 0) {
      throw new KerseyError('IFACE_NOT_FOUND', `the interface ${link.name} has no MTU`, {
        remedy: 'choose another with --iface',
      });
    }
    const ipv4 = this.#families.includes(4) ? this.#ends(link, 4, ip) : undefined;
    const ipv6 = this.#families.includes(6) ? this.#ends(link, 6, ip) : undefined;
    return { link, why, ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) };
  }

  #candidate(): Candidate {
    const { ifaces, ifaceRegexes, ifaceCanReach } = this.#wish;
    if (ifaces.length === 0 && ifaceRegexes.length === 0 && ifaceCanReach === undefined)
      return this.#implied();
    for (const iface of ifaces) {
      const found = this.#byNameOrAddress(iface);
      if (found) return { ...found, why: `--iface ${iface}` };
    }
    for (const regex of ifaceRegexes) {
      const link = this.#byRegex(regex);
      if (link) return { link, why: `--iface-regex ${regex}` };
    }
    if (ifaceCanReach !== undefined) {
      const route = this.#host.routeGet(wishedIp('--iface-can-reach', ifaceCanReach));
      const link = this.#byIndex(route?.device);
      if (link) {
        return {
          link,
          why: `--iface-can-reach ${ifaceCanReach}`,
          ...(route?.source !== undefined && { ip: route.source }),
        };
      }
    }
    const asked = [
      ...ifaces.map((iface) => `--iface ${iface}`),
      ...ifaceRegexes.map((regex) => `--iface-regex ${regex}`),
      ...(ifaceCanReach === undefined ? [] : [`--iface-can-reach ${ifaceCanReach}`]),
    ];
    throw new KerseyError('IFACE_NOT_FOUND', `no interface fits ${asked.join(', ')}`, {
      remedy: `choose one of ${this.#inventory()}`,
    });
  }

  #byNameOrAddress(text: string): Omit<Candidate, 'why'> | undefined {
    if (tryParseIp(text) === undefined) {
      const link = this.#links.find(({ name }) => name === text);
      return link && { link };
    }
    const ip = canonicalIp(text);
    const link = this.#holderOf(ip);
    return link && { link, ip };
  }

  /** flannel's order: an interface's addresses first, of all interfaces; only then the names. */
  #byRegex(text: string): Link | undefined {
    const regex = wishedRegex(text);
    const byAddress = this.#links.find((link) =>
      this.#families.every((family) => this.#usable(link, family).some(({ ip }) => regex.test(ip))),
    );
    return byAddress ?? this.#links.find(({ name }) => regex.test(name));
  }

  #implied(): Candidate {
    const options = [
      ['--public-ip', this.#wish.publicIp],
      ['--public-ipv6', this.#wish.publicIpv6],
    ] as const;
    for (const [option, text] of options) {
      if (text === undefined) continue;
      const ip = wishedIp(option, text);
      const link = this.#holderOf(ip);
      if (link) return { link, why: `it holds ${option} ${ip}`, ip };
      throw new KerseyError('ADDRESS_NOT_LOCAL', `${option} ${ip} is on no interface of this host`, {
        remedy: `if a NAT translates it, say which interface is behind it with --iface: ${this.#inventory()}`,
      });
    }
    return this.#byDefaultRoute();
  }

  #byDefaultRoute(): Candidate {
    const links = this.#families.map((family) => {
      const link = this.#byIndex(this.#defaultRoute(family)?.device);
      if (link) return link;
      throw new KerseyError('IFACE_NOT_FOUND', `this host has no IPv${family} default route to go by`, {
        remedy: `choose an interface with --iface: ${this.#inventory()}`,
      });
    });
    const [first, second] = links;
    if (first === undefined) throw new KerseyError('INTERNAL', 'no address family was asked for');
    if (second !== undefined && second.index !== first.index) {
      const message = `the IPv4 default route leads to ${first.name}, the IPv6 one to ${second.name}`;
      throw new KerseyError('IFACE_NOT_FOUND', message, { remedy: 'choose one of them with --iface' });
    }
    return { link: first, why: 'the default route leads there' };
  }

  /** Of several the one that the kernel prefers. */
  #defaultRoute(family: Family): Route | undefined {
    const any = family === 4 ? '0.0.0.0/0' : '::/0';
    return this.#host
      .routes(family)
      .filter((route) => route.dst === any && this.#byIndex(route.device) !== undefined)
      .sort((a, b) => a.metric - b.metric)[0];
  }

  /** Our address on the interface, and what peers are told. */
  #ends(link: Link, family: Family, chosen: string | undefined): UnderlayAddress {
    const [option, text] =
      family === 4 ? ['--public-ip', this.#wish.publicIp] : ['--public-ipv6', this.#wish.publicIpv6];
    const wished = text === undefined ? undefined : wishedIp(option, text, family);
    const own = this.#usable(link, family);
    const address =
      own.find(({ ip }) => chosen !== undefined && ip === chosen) ??
      own.find(({ ip }) => wished !== undefined && ip === wished) ??
      own[0];
    if (address === undefined) {
      throw new KerseyError('IFACE_NOT_FOUND', `the interface ${link.name} has no IPv${family} address`, {
        remedy: `give it one, or choose another with --iface: ${this.#inventory()}`,
      });
    }
    return { address: address.ip, publicAddress: wished ?? address.ip };
  }

  /** Best first: global before link-local, permanent before not, stable before temporary. Deprecated ones are out. */
  #usable(link: Link, family: Family): readonly Address[] {
    const rank = (address: Address): number =>
      (isLinkLocal(address) ? 4 : 0) + (address.permanent ? 0 : 2) + (address.temporary ? 1 : 0);
    return this.#addresses
      .filter((address) => address.index === link.index && address.family === family && !address.deprecated)
      .filter((address) => family === 4 || !isLinkLocal(address))
      .sort((a, b) => rank(a) - rank(b));
  }

  #holderOf(ip: string): Link | undefined {
    return this.#byIndex(this.#addresses.find((address) => address.ip === ip)?.index);
  }

  #byIndex(index: number | undefined): Link | undefined {
    return this.#links.find((link) => link.index === index);
  }

  /** `eth0 (192.168.1.10, fd00::10), wlan0 (no address)` */
  #inventory(): string {
    const entries = this.#links
      .filter((link) => !link.loopback)
      .map((link) => {
        const ips = this.#families.flatMap((family) => this.#usable(link, family).map(({ ip }) => ip));
        return `${link.name} (${ips.length === 0 ? 'no usable address' : ips.join(', ')})`;
      });
    return entries.length === 0 ? 'this host has no interface but lo' : entries.join(', ');
  }
}

function isLinkLocal({ family, ip }: Address): boolean {
  const { value } = parseIp(ip);
  return family === 4 ? value >> 16n === 0xa9fen : value >> 118n === 0x3fan;
}

function wishedIp(option: string, text: string, family?: Family): string {
  const ip = tryParseIp(text);
  if (ip !== undefined && (family === undefined || ip.family === family)) return canonicalIp(text);
  const kind = family === undefined ? 'an IP' : `an IPv${family}`;
  throw new KerseyError('USAGE', `${option} ${text} is not ${kind} address`, {
    remedy: `write one such as ${family === 6 ? 'fd00::10' : '192.168.1.10'}`,
  });
}

function wishedRegex(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (cause) {
    throw new KerseyError('USAGE', `--iface-regex ${text} is not a regular expression`, {
      remedy: 'write one such as ^eth or ^192\\.168\\.',
      cause,
    });
  }
}
