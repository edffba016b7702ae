// Ethernet addresses: six bytes inside, lower-case text with colons (`0e:2a:00:00:00:01`) outside.

import { randomBytes } from 'node:crypto';
import { KerseyError } from '../errors.ts';

/** The three ways that MAC addresses are written, and that Go's net.ParseMAC takes: colons, hyphens, Cisco's dots. */
const patterns = [
  /^(?:[\da-f]{2}:){5}[\da-f]{2}$/i,
  /^(?:[\da-f]{2}-){5}[\da-f]{2}$/i,
  /^(?:[\da-f]{4}\.){2}[\da-f]{4}$/i,
];

/** undefined when the text is not an Ethernet address. */
export function tryParseMac(text: string): Uint8Array | undefined {
  if (!patterns.some((pattern) => pattern.test(text))) return undefined;
  return Uint8Array.from(Buffer.from(text.replace(/[^\da-f]/gi, ''), 'hex'));
}

/** @throws KerseyError ADDRESS_INVALID */
export function parseMac(text: string): Uint8Array {
  const mac = tryParseMac(text);
  if (mac !== undefined) return mac;
  throw new KerseyError('ADDRESS_INVALID', `'${text}' is not a MAC address`, {
    remedy: 'write six hexadecimal bytes, such as 0e:2a:00:00:00:01',
  });
}

export function formatMac(mac: Uint8Array): string {
  if (mac.length !== 6) throw new RangeError(`a MAC address has 6 bytes, not ${mac.length}`);
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** A random unicast, locally administered address, as text: what flannel gives a VTEP. */
export function randomMac(): string {
  const mac = Uint8Array.from(randomBytes(6));
  mac[0] = ((mac[0] ?? 0) & 0xfe) | 0x02;
  return formatMac(mac);
}
