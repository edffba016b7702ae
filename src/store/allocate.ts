// Which subnet a host gets. Pure: the table goes in, the choice comes out, and the store does the claiming.
//
// In flannel's order: the subnet that the host's public address already holds, while the configuration still allows
// it; else the one it had before (from subnet.env), while it is free; else one at random of the first 100 free ones.
// Random, because hosts that start together and read the same table would otherwise all want the same subnet.
//
// A subnet is free when it overlaps nothing in the table: entries may have other lengths than ours.

import { subnetPool } from '../config/network.ts';
import type { NetworkConfig } from '../config/network.ts';
import type { SubnetPool } from '../config/pool.ts';
import { KerseyError } from '../errors.ts';
import { cidrAround, cidrEqual, cidrLast, cidrOverlaps, compareCidr, formatCidr } from '../net/cidr.ts';
import type { Cidr } from '../net/cidr.ts';
import { addressBits, formatIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import type { LeaseEntry, LeaseSubnets } from './lease.ts';

/** flannel draws from as many. */
const candidates = 100;

export interface AllocationRequest {
  /** Canonical texts. A host is known by its IPv4 address, and by its IPv6 address when it has no other. */
  readonly publicIP?: string | undefined;
  readonly publicIPv6?: string | undefined;
  readonly previous?: Cidr | undefined;
  readonly previous6?: Cidr | undefined;
  /** The host's entry, when it is known by more than the address; else whichever names that is taken for it. */
  readonly held?: LeaseEntry | undefined;
}

export interface Allocation extends LeaseSubnets {
  /** The host's entry in the table, which the allocation keeps or replaces. */
  readonly own: LeaseEntry | undefined;
}

/**
 * @param random from 0 to below 1
 * @throws KerseyError SUBNETS_EXHAUSTED
 */
export function allocate(
  config: NetworkConfig,
  entries: readonly LeaseEntry[],
  request: AllocationRequest,
  random: () => number = Math.random,
): Allocation {
  const pools = { 4: subnetPool(config, 4), 6: subnetPool(config, 6) } as const;
  const fits = (entry: LeaseEntry): boolean =>
    ([4, 6] as const).every(
      (family) => pools[family] === undefined || inPool(pools[family], part(entry, family)),
    );
  const mine = entries.filter((entry) => isOwnEntry(entry, request));
  const own = request.held ?? mine.find(fits) ?? mine[0];

  const choose = (family: Family): Cidr | undefined => {
    const pool = pools[family];
    if (pool === undefined) return undefined;
    const held = own && part(own, family);
    if (inPool(pool, held)) return held;
    const taken = entries.flatMap((entry) => (entry === own ? [] : (part(entry, family) ?? [])));
    const previous = family === 4 ? request.previous : request.previous6;
    if (inPool(pool, previous) && !taken.some((cidr) => cidrOverlaps(cidr, previous))) return previous;
    return drawFree(pool, taken, random);
  };
  return { subnet: choose(4), subnet6: choose(6), own };
}

/** Whether the pool could have leased the subnet. */
export function inPool(pool: SubnetPool, cidr: Cidr | undefined): cidr is Cidr {
  return (
    cidr?.family === pool.network.family &&
    cidr.length === pool.length &&
    pool.min <= cidr.base &&
    cidr.base <= pool.max
  );
}

/** The first free subnets of the pool, in order, at most so many. */
export function firstFree(pool: SubnetPool, taken: readonly Cidr[], limit: number): Cidr[] {
  const { family } = pool.network;
  const size = 1n << BigInt(addressBits(family) - pool.length);
  const sorted = taken.filter((cidr) => cidr.family === family).sort(compareCidr);
  const free: Cidr[] = [];
  let base = pool.min;
  let next = 0;
  while (base <= pool.max && free.length < limit) {
    const block = sorted[next];
    if (block !== undefined && cidrLast(block) < base) {
      next++;
    } else if (block !== undefined && block.base < base + size) {
      // Past the block in one step: it may cover a great many subnets.
      base = ((cidrLast(block) + size) / size) * size;
    } else {
      free.push(cidrAround(family, base, pool.length));
      base += size;
    }
  }
  return free;
}

function drawFree(pool: SubnetPool, taken: readonly Cidr[], random: () => number): Cidr {
  const free = firstFree(pool, taken, candidates);
  const drawn = free[Math.floor(random() * free.length)];
  if (drawn !== undefined) return drawn;
  const { family } = pool.network;
  const subnets = ((pool.max - pool.min) >> BigInt(addressBits(family) - pool.length)) + 1n;
  throw new KerseyError(
    'SUBNETS_EXHAUSTED',
    `every /${pool.length} subnet of ${formatCidr(pool.network)} from ${formatIp(family, pool.min)} to ` +
      `${formatIp(family, pool.max)} is taken (subnets: ${subnets}, leases: ${taken.length})`,
    { remedy: 'remove the leases of hosts that are gone, or widen the network' },
  );
}

/** Whether the entry names the public address of the host. */
export function isOwnEntry(entry: LeaseEntry, request: AllocationRequest): boolean {
  if (entry.attrs === undefined) return false;
  if (request.publicIP !== undefined) return entry.attrs.publicIP === request.publicIP;
  return request.publicIPv6 !== undefined && entry.attrs.publicIPv6 === request.publicIPv6;
}

/** Whether the entry is of the subnet that the host had before: of several entries of a host the one to keep. */
export function isPrevious(entry: LeaseSubnets, { previous, previous6 }: AllocationRequest): boolean {
  return [previous, previous6].some(
    (cidr) => cidr !== undefined && (cidrEqual(entry.subnet, cidr) || cidrEqual(entry.subnet6, cidr)),
  );
}

function part(entry: LeaseEntry, family: Family): Cidr | undefined {
  return family === 4 ? entry.subnet : entry.subnet6;
}
