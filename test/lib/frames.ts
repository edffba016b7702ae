// Packets made by hand, byte by byte, for tests: inner IP packets, VXLAN frames around them, outer packets around
// those. Written from the RFCs (791, 8200, 768, 7348) and sharing no code with the engine.

import { parseIp } from '../../src/net/ip.ts';
import { parseMac } from '../../src/net/mac.ts';

export interface UdpPacket {
  readonly from: string;
  readonly to: string;
  readonly fromPort: number;
  readonly toPort: number;
  readonly payload: Buffer;
  /** TOS or traffic class. */
  readonly tos?: number;
  readonly ttl?: number;
  /** False: a zero checksum. */
  readonly checksum?: boolean;
}

function addressBytes(text: string): Buffer {
  const { family, value } = parseIp(text);
  return Buffer.from(value.toString(16).padStart(family === 4 ? 8 : 32, '0'), 'hex');
}

/** The sum of all 16-bit words in one's complement; every part but the last is of even length. */
export function sum16(...parts: readonly Buffer[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += (part[i] ?? 0) * 256 + (part[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** An IPv4 or IPv6 packet, by its addresses, around an upper-layer packet of that protocol. */
export function ipPacket(
  protocol: number,
  { from, to, tos = 0, ttl = 64 }: Pick<UdpPacket, 'from' | 'to' | 'tos' | 'ttl'>,
  upper: Buffer,
): Buffer {
  const addresses = Buffer.concat([addressBytes(from), addressBytes(to)]);
  if (addresses.length === 8) {
    const header = Buffer.from([0x45, tos, 0, 0, 0, 0, 0x40, 0, ttl, protocol, 0, 0]);
    header.writeUInt16BE(20 + upper.length, 2);
    header.writeUInt16BE(0xffff - sum16(header, addresses), 10);
    return Buffer.concat([header, addresses, upper]);
  }
  const header = Buffer.from([0x60 | (tos >> 4), (tos & 15) << 4, 0, 0, 0, 0, protocol, ttl]);
  header.writeUInt16BE(upper.length, 4);
  return Buffer.concat([header, addresses, upper]);
}

export function udpPacket(packet: UdpPacket): Buffer {
  const udp = Buffer.concat([Buffer.alloc(8), packet.payload]);
  udp.writeUInt16BE(packet.fromPort, 0);
  udp.writeUInt16BE(packet.toPort, 2);
  udp.writeUInt16BE(udp.length, 4);
  if (packet.checksum !== false) {
    const pseudo = Buffer.from([0, 17, udp.length >> 8, udp.length & 255]);
    const sum = 0xffff - sum16(addressBytes(packet.from), addressBytes(packet.to), pseudo, udp);
    udp.writeUInt16BE(sum === 0 ? 0xffff : sum, 6);
  }
  return ipPacket(17, packet, udp);
}

export interface VxlanFrame {
  readonly inner: Buffer;
  readonly toMac: string;
  readonly fromMac: string;
  readonly vni?: number;
  /** The eight bytes of the VXLAN header are XORed with this. */
  readonly flip?: bigint;
  readonly etherType?: number;
}

/** VXLAN header, inner Ethernet header, inner packet. */
export function vxlanFrame({ inner, toMac, fromMac, vni = 1, flip = 0n, etherType }: VxlanFrame): Buffer {
  const header = Buffer.alloc(8);
  header.writeBigUInt64BE(((0x08n << 56n) | (BigInt(vni) << 8n)) ^ flip);
  const type = Buffer.alloc(2);
  type.writeUInt16BE(etherType ?? ((inner[0] ?? 0) >> 4 === 6 ? 0x86dd : 0x0800));
  return Buffer.concat([header, parseMac(toMac), parseMac(fromMac), type, inner]);
}
