// Subnets in CIDR form, and their arithmetic.

import { KerseyError } from '../errors.ts';
import { addressBits, formatIp, tryParseIp } from './ip.ts';
import type { Family, Ip } from './ip.ts';

/** An aligned block of addresses. Two blocks either lie one inside the other or do not touch. */
export interface Cidr {
  readonly family: Family;
  /** The first address; its host bits are zero. */
  readonly base: bigint;
  /** Length of the prefix in bits. */
  readonly length: number;
}

/** The block of this length that holds the address. */
export function cidrAround(family: Family, address: bigint, length: number): Cidr {
  const bits = addressBits(family);
  if (!Number.isInteger(length) || length < 0 || length > bits) {
    throw new RangeError(`/${length} is not a prefix length of IPv${family}`);
  }
  if (address < 0n || address >> BigInt(bits) !== 0n) {
    throw new RangeError(`${address} does not fit an IPv${family} address`);
  }
  const hostBits = BigInt(bits - length);
  return { family, base: (address >> hostBits) << hostBits, length };
}

/** `10.5.1.7/24` is the block 10.5.1.0/24. undefined when the text is not an address, a slash and a length. */
export function tryParseCidr(text: string): Cidr | undefined {
  const match = /^([^/]*)\/(0|[1-9]\d{0,2})$/.exec(text);
  if (match?.[1] === undefined) return undefined;
  const ip = tryParseIp(match[1]);
  const length = Number(match[2]);
  if (ip === undefined || length > addressBits(ip.family)) return undefined;
  return cidrAround(ip.family, ip.value, length);
}

/** @throws KerseyError ADDRESS_INVALID */
export function parseCidr(text: string): Cidr {
  const cidr = tryParseCidr(text);
  if (cidr !== undefined) return cidr;
  throw new KerseyError('ADDRESS_INVALID', `'${text}' is not a subnet`, {
    remedy: 'write an address, a slash and a length, such as 10.5.1.0/24 or fd00:5:1::/64',
  });
}

export function formatCidr(cidr: Cidr): string {
  return `${formatIp(cidr.family, cidr.base)}/${cidr.length}`;
}

/** The number of addresses. */
export function cidrSize(cidr: Cidr): bigint {
  return 1n << BigInt(addressBits(cidr.family) - cidr.length);
}

/** The last address. */
export function cidrLast(cidr: Cidr): bigint {
  return cidr.base + cidrSize(cidr) - 1n;
}

/** Whether every address of `inner` is in `outer`. False across families. */
export function cidrContains(outer: Cidr, inner: Ip | Cidr): boolean {
  if (outer.family !== inner.family) return false;
  if ('length' in inner && inner.length < outer.length) return false;
  const hostBits = BigInt(addressBits(outer.family) - outer.length);
  const first = 'value' in inner ? inner.value : inner.base;
  return first >> hostBits === outer.base >> hostBits;
}

export function cidrOverlaps(a: Cidr, b: Cidr): boolean {
  return cidrContains(a, b) || cidrContains(b, a);
}

export function cidrEqual(a: Cidr | undefined, b: Cidr | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.family === b.family && a.base === b.base && a.length === b.length;
}

/** For sorting: IPv4 first, then by first address, and of two that start alike the wider one first. */
export function compareCidr(a: Cidr, b: Cidr): number {
  if (a.family !== b.family) return a.family - b.family;
  if (a.base !== b.base) return a.base < b.base ? -1 : 1;
  return a.length - b.length;
}
