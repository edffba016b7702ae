// IP addresses: text to value and back.
//
// An address is text where it meets people, files or the kernel's tools, and a family with a bigint inside. Text comes
// out in one form only (RFC 5952 for IPv6), so that texts may be compared. What goes in must be what inet_pton takes:
// no octal, no `10.1`, no zone.

import ipaddr from 'ipaddr.js';
import { isIPv4, isIPv6 } from 'node:net';
import { KerseyError } from '../errors.ts';

export type Family = 4 | 6;

export interface Ip {
  readonly family: Family;
  readonly value: bigint;
}

/** Bits of an address of the family. */
export function addressBits(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

/** The address, or undefined when the text is not exactly one. */
export function tryParseIp(text: string): Ip | undefined {
  // isIPv4 takes four plain decimal numbers and nothing else. A table of leases is full of these.
  if (isIPv4(text)) {
    return { family: 4, value: BigInt(text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)) };
  }
  // Node takes a zone (`fe80::1%eth0`); here an address stands for itself.
  if (!isIPv6(text) || text.includes('%')) return undefined;
  return { family: 6, value: fromWords(ipaddr.IPv6.parse(withHexTail(text)).parts, 16n) };
}

/** @throws KerseyError ADDRESS_INVALID */
export function parseIp(text: string): Ip {
  const ip = tryParseIp(text);
  if (ip !== undefined) return ip;
  throw new KerseyError('ADDRESS_INVALID', `'${text}' is not an IP address`, {
    remedy: 'write one such as 192.168.1.10 or fd00::10',
  });
}

export function formatIp(family: Family, value: bigint): string {
  if (value < 0n || value >> BigInt(addressBits(family)) !== 0n) {
    throw new RangeError(`${value} does not fit an IPv${family} address`);
  }
  if (family === 4) {
    const bits = Number(value);
    return `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}`;
  }
  return new ipaddr.IPv6(toWords(value, 16n, 8)).toRFC5952String();
}

/** The same address in the form that {@link formatIp} writes. */
export function canonicalIp(text: string): string {
  const { family, value } = parseIp(text);
  return formatIp(family, value);
}

/** `::1.2.3.4` as `::102:304`: ipaddr.js 2.5 takes a dotted tail after `::` for an IPv4-mapped address. */
function withHexTail(text: string): string {
  const start = text.lastIndexOf(':') + 1;
  const tail = text.slice(start);
  if (!tail.includes('.')) return text;
  const value = fromWords(ipaddr.IPv4.parse(tail).octets, 8n);
  return `${text.slice(0, start)}${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
}

function fromWords(words: readonly number[], wordBits: bigint): bigint {
  return words.reduce((value, word) => (value << wordBits) | BigInt(word), 0n);
}

function toWords(value: bigint, wordBits: bigint, count: number): number[] {
  const mask = (1n << wordBits) - 1n;
  return Array.from({ length: count }, (_, i) =>
    Number((value >> (wordBits * BigInt(count - 1 - i))) & mask),
  );
}
