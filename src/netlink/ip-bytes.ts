// Addresses between netlink (bytes in network order) and the rest of Kersey (canonical text).

import { parseIp } from '../net/ip.ts';
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
  return ipv6Text(bytes);
}

/** What formatIp() writes, straight from the bytes: a dump of a large network holds tens of thousands of these. */
function ipv6Text(bytes: Uint8Array): string {
  let longest = { from: 0, length: 1 };
  let run = 0;
  const words: string[] = [];
  for (let i = 0; i < 8; i++) {
    const word = ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0);
    words.push(word.toString(16));
    run = word === 0 ? run + 1 : 0;
    if (run > longest.length) longest = { from: i - run + 1, length: run };
  }
  if (longest.length === 1) return words.join(':');
  const end = longest.from + longest.length;
  return `${words.slice(0, longest.from).join(':')}::${words.slice(end).join(':')}`;
}
