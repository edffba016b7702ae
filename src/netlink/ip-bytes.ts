// Addresses between netlink (bytes in network order) and the rest of Kersey (canonical text).

import { formatIp, parseIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import { AF } from './constants.ts';

export function familyNumber(family: Family): number {
  return family === 4 ? AF.INET : AF.INET6;
}

/** The IP family of an AF_ number; undefined for bridges, MPLS and so on. */
export function familyOf(number: number): Family | undefined {
  if (number === AF.INET) return 4;
  return number === AF.INET6 ? 6 : undefined;
}

export function ipBytes(text: string): Uint8Array {
  const { family, value } = parseIp(text);
  const digits = value.toString(16).padStart(family === 4 ? 8 : 32, '0');
  return Buffer.from(digits, 'hex');
}

/** undefined when the bytes are no address of that family. */
export function ipText(family: Family, bytes: Uint8Array | undefined): string | undefined {
  if (bytes?.length !== (family === 4 ? 4 : 16)) return undefined;
  if (family === 4) return bytes.join('.');
  return formatIp(family, BigInt(`0x${Buffer.from(bytes).toString('hex')}`));
}
