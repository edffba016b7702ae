// Addresses of devices: struct ifaddrmsg and its attributes.

import type { Family } from '../net/ip.ts';
import { IFA, IFA_F, RT_SCOPE, RTM } from './constants.ts';
import { familyNumber, familyOf, ipBytes, ipText } from './ip-bytes.ts';
import { attribute, Attributes, encodeMessage, Fields, type Message } from './wire.ts';

export interface Address {
  readonly index: number;
  readonly family: Family;
  /** The address itself, without its length. */
  readonly ip: string;
  readonly prefixLength: number;
  readonly scope: number;
  readonly permanent: boolean;
  readonly temporary: boolean;
  readonly deprecated: boolean;
}

const headerLength = 8;

export function decodeAddress(message: Message): Address | undefined {
  if (message.type !== RTM.NEWADDR && message.type !== RTM.DELADDR) return undefined;
  if (message.payload.length < headerLength) return undefined;
  const head = new Fields(message.payload);
  const family = familyOf(head.u8(0));
  if (family === undefined) return undefined;
  const attributes = new Attributes(message.payload.subarray(headerLength));
  // On a point-to-point device IFA_ADDRESS is the other end; IFA_LOCAL, where there is one, is always ours.
  const ip = ipText(family, attributes.bytes(IFA.LOCAL) ?? attributes.bytes(IFA.ADDRESS));
  if (ip === undefined) return undefined;
  // The header's flags are eight bits; kernels since 3.14 send all 32 as an attribute.
  const flags = attributes.u32(IFA.FLAGS) ?? head.u8(2);
  return {
    index: head.u32(4),
    family,
    ip,
    prefixLength: head.u8(1),
    scope: head.u8(3),
    permanent: (flags & IFA_F.PERMANENT) !== 0,
    temporary: (flags & IFA_F.TEMPORARY) !== 0,
    deprecated: (flags & IFA_F.DEPRECATED) !== 0,
  };
}

export function encodeAddressDump(flags: number): Uint8Array {
  return encodeMessage(RTM.GETADDR, flags, Fields.ofLength(headerLength).bytes, []);
}

export interface AddressChange {
  readonly index: number;
  readonly family: Family;
  readonly ip: string;
  readonly prefixLength: number;
}

export function encodeAddressChange(
  type: typeof RTM.NEWADDR | typeof RTM.DELADDR,
  flags: number,
  { index, family, ip, prefixLength }: AddressChange,
): Uint8Array {
  const bytes = ipBytes(ip);
  // An overlay address is ours by lease: duplicate address detection has nobody to ask.
  const nodad = family === 6 && type === RTM.NEWADDR ? IFA_F.NODAD : 0;
  const head = Fields.ofLength(headerLength)
    .setU8(0, familyNumber(family))
    .setU8(1, prefixLength)
    .setU8(2, nodad)
    .setU8(3, RT_SCOPE.UNIVERSE)
    .setU32(4, index);
  return encodeMessage(type, flags, head.bytes, [
    attribute.bytes(IFA.LOCAL, bytes),
    attribute.bytes(IFA.ADDRESS, bytes),
  ]);
}
