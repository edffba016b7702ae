// What the overlay is in one address family, and what its packets may measure: the same for every backend.

import type { NetworkConfig } from '../config/network.ts';
import { leastMtu } from '../config/backend.ts';
import { KerseyError } from '../errors.ts';
import type { Cidr } from '../net/cidr.ts';
import { addressBits, formatIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import type { LeaseSubnets } from '../store/lease.ts';
import type { HostFacts } from './backend.ts';

export function enabledFamilies(config: NetworkConfig): readonly Family[] {
  return [...(config.enableIPv4 ? [4 as const] : []), ...(config.enableIPv6 ? [6 as const] : [])];
}

export interface OverlayNetwork {
  readonly family: Family;
  readonly network: Cidr;
  /** Our own. */
  readonly subnet: Cidr;
}

/** The enabled families of a lease. @throws KerseyError INTERNAL when the lease lacks one */
export function overlayNetworks(config: NetworkConfig, own: LeaseSubnets): readonly OverlayNetwork[] {
  return enabledFamilies(config).map((family) => {
    const [network, subnet] = family === 4 ? [config.network, own.subnet] : [config.ipv6Network, own.subnet6];
    if (network === undefined || subnet === undefined) {
      throw new KerseyError('INTERNAL', `our own lease is incomplete for IPv${family}`);
    }
    return { family, network, subnet };
  });
}

export function underlayAddress(host: HostFacts, family: Family): string {
  const local = family === 4 ? host.address4 : host.address6;
  if (local !== undefined) return local;
  throw new KerseyError('INTERNAL', `no IPv${family} underlay address was chosen`);
}

/** The subnet's base with its full length: what a VTEP calls itself. */
export function vtepAddress({ family, base }: Cidr): string {
  return `${formatIp(family, base)}/${addressBits(family)}`;
}

/**
 * What fits inside the tunnel.
 * @param configured config.Backend.MTU
 * @param tunnel its name, for the message
 * @throws KerseyError MTU_TOO_SMALL
 */
export function innerMtu(
  family: Family,
  host: HostFacts,
  overhead: number,
  tunnel: string,
  configured?: number,
): number {
  const underlay = configured ?? host.ifaceMtu;
  const mtu = underlay - overhead;
  if (mtu >= leastMtu[family]) return mtu;
  const where = configured === undefined ? `the interface ${host.iface}` : 'config.Backend.MTU';
  const message = `the MTU of ${where} is ${underlay}, which leaves ${mtu} bytes for packets inside ${tunnel}`;
  const needed = leastMtu[family] + overhead;
  throw new KerseyError('MTU_TOO_SMALL', message, {
    remedy: `IPv${family} needs ${leastMtu[family]} inside, so raise it to ${needed} or more`,
  });
}
