// Which keys must not have changed for a new lease to overlap nobody. Narrow, because every transaction that is refused
// costs the cluster as much as one that is done: fifty hosts that start together must not wait for each other, nor for a
// peer that renews.
//
// A new 10.5.1.0/24 can be overlapped under these names, and by no others:
//
//   10.5.1.                                 itself, what lies inside it, and these with an IPv6 part (`&`)
//   10.5.0.0-23 10.5.0.0-22 ... 0.0.0.0-0   what it lies inside of: a name for each shorter length
//
// In the place of 10.5.1. a 10.5.4.0/22 has 10.5.4. to 10.5.7., and a 10.5.1.64/26 has 10.5.1.64- to 10.5.1.127-. A
// transaction of etcd holds 128 comparisons: where that would be more than 64 names, the next wider octet stands for
// them. IPv6 subnets may overlap under any IPv4 part: a lease that has one is guarded by the whole table.
//
// Not guarded: text before the address. flannel's expression takes `x10.5.1.0-24` for a lease of 10.5.1.0/24, and so do
// we when we read it; nobody writes it.

import { cidrAround } from '../../net/cidr.ts';
import type { Cidr } from '../../net/cidr.ts';
import { formatIp } from '../../net/ip.ts';
import type { LeaseSubnets } from '../lease.ts';
import type { Compare } from './kv.ts';

/** Of an octet that the prefix ends in: 64 names. */
const mostFreeBits = 6;

/** @param subnets what the keys of leases begin with */
export function overlapGuard(
  { subnet, subnet6 }: LeaseSubnets,
  subnets: string,
  unchangedSince: bigint,
): readonly Compare[] {
  const names = subnet === undefined || subnet6 !== undefined ? [''] : namesAround(subnet);
  return names.map((name) => ({ prefix: subnets + name, unchangedSince }));
}

function namesAround(subnet: Cidr): readonly string[] {
  const { family, base, length } = subnet;
  const inside = namesInside(subnet);
  const wider = Array.from({ length }, (_, shorter) => {
    return `${formatIp(family, cidrAround(family, base, shorter).base)}-${shorter}`;
  });
  return [...inside, ...wider.filter((name) => !inside.some((covers) => name.startsWith(covers)))];
}

function namesInside({ family, base, length }: Cidr): readonly string[] {
  const octets = formatIp(family, base).split('.');
  const whole = Math.floor(length / 8);
  const begin = octets
    .slice(0, whole)
    .map((octet) => `${octet}.`)
    .join('');
  const freeBits = 8 * (whole + 1) - length;
  if (freeBits > mostFreeBits) return [begin];
  const first = Number(octets[whole]);
  const end = whole === 3 ? '-' : '.';
  return Array.from({ length: 2 ** freeBits }, (_, i) => `${begin}${first + i}${end}`);
}
