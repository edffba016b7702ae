// The two containers of netlink: messages (nlmsghdr and payload) and attributes (type, length, value).
//
// Everything is in the byte order of the machine, and everything is padded to four bytes. What the kernel sends is
// checked against the bounds of its buffer all the same: a length that does not fit is an error, never a wild read.
// Not handled: the flag for network byte order (NLA_F_NET_BYTEORDER), which rtnetlink does not set: its ports are
// simply known to be in that order (u16be).

import { endianness } from 'node:os';

import { KerseyError } from '../errors.ts';
import { NLA_TYPE_MASK } from './constants.ts';

const little = endianness() === 'LE';
const headerLength = 16;

export interface Message {
  readonly type: number;
  readonly flags: number;
  /** In an answer: the index of the request within its batch. In an event: of no use. */
  readonly sequence: number;
  readonly payload: Uint8Array;
}

/** A view on bytes in the machine's order. */
export class Fields {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  static ofLength(length: number): Fields {
    return new Fields(new Uint8Array(length));
  }

  u8(at: number): number {
    return this.#view.getUint8(at);
  }
  u16(at: number): number {
    return this.#view.getUint16(at, little);
  }
  u32(at: number): number {
    return this.#view.getUint32(at, little);
  }
  i32(at: number): number {
    return this.#view.getInt32(at, little);
  }
  setU8(at: number, value: number): this {
    this.#view.setUint8(at, value);
    return this;
  }
  setU16(at: number, value: number): this {
    this.#view.setUint16(at, value, little);
    return this;
  }
  setU32(at: number, value: number): this {
    this.#view.setUint32(at, value, little);
    return this;
  }
  setI32(at: number, value: number): this {
    this.#view.setInt32(at, value, little);
    return this;
  }
}

/** A request: sequence number, port id and the flags REQUEST and ACK are filled in by the native side. */
export function encodeMessage(
  type: number,
  flags: number,
  header: Uint8Array,
  attributes: readonly Uint8Array[],
): Uint8Array {
  const body = [padded(header), ...attributes];
  const length = body.reduce((sum, part) => sum + part.length, headerLength);
  const head = Fields.ofLength(headerLength).setU32(0, length).setU16(4, type).setU16(6, flags);
  return Buffer.concat([head.bytes, ...body], length);
}

export function decodeMessages(bytes: Uint8Array): readonly Message[] {
  const messages: Message[] = [];
  for (let at = 0; at < bytes.length;) {
    const head = new Fields(bytes.subarray(at));
    const length = head.bytes.length < headerLength ? 0 : head.u32(0);
    if (length < headerLength || length > head.bytes.length) throw malformed('message', at, bytes);
    messages.push({
      type: head.u16(4),
      flags: head.u16(6),
      sequence: head.u32(8),
      payload: bytes.subarray(at + headerLength, at + length),
    });
    at += align(length);
  }
  return messages;
}

export const attribute = {
  bytes(type: number, value: Uint8Array): Uint8Array {
    const length = 4 + value.length;
    const out = Fields.ofLength(align(length)).setU16(0, length).setU16(2, type);
    out.bytes.set(value, 4);
    return out.bytes;
  },
  u8(type: number, value: number): Uint8Array {
    return attribute.bytes(type, Uint8Array.of(value));
  },
  /** In network byte order, as ports are. */
  u16be(type: number, value: number): Uint8Array {
    return attribute.bytes(type, Uint8Array.of(value >> 8, value & 0xff));
  },
  /** True by being there. */
  flag(type: number): Uint8Array {
    return attribute.bytes(type, new Uint8Array());
  },
  nested(type: number, attributes: readonly Uint8Array[]): Uint8Array {
    return attribute.bytes(type, Buffer.concat(attributes));
  },
  u32(type: number, value: number): Uint8Array {
    return attribute.bytes(type, Fields.ofLength(4).setU32(0, value).bytes);
  },
  /** Zero-terminated, as the kernel's NLA_NUL_STRING wants it. */
  text(type: number, value: string): Uint8Array {
    return attribute.bytes(type, Buffer.from(`${value}\0`, 'utf8'));
  },
};

/** The attributes of one message or nest, by type. Of a type that occurs twice the last one counts, as in the kernel. */
export class Attributes {
  readonly #values = new Map<number, Uint8Array>();

  constructor(bytes: Uint8Array) {
    for (let at = 0; at + 4 <= bytes.length;) {
      const head = new Fields(bytes.subarray(at, at + 4));
      const length = head.u16(0);
      if (length < 4 || at + length > bytes.length) throw malformed('attribute', at, bytes);
      this.#values.set(head.u16(2) & NLA_TYPE_MASK, bytes.subarray(at + 4, at + length));
      at += align(length);
    }
  }

  has(type: number): boolean {
    return this.#values.has(type);
  }

  bytes(type: number): Uint8Array | undefined {
    return this.#values.get(type);
  }

  u8(type: number): number | undefined {
    return this.#values.get(type)?.[0];
  }

  /** Of a number in network byte order. */
  u16be(type: number): number | undefined {
    const [high, low] = this.#values.get(type) ?? [];
    return high === undefined || low === undefined ? undefined : high * 256 + low;
  }

  u32(type: number): number | undefined {
    const value = this.#values.get(type);
    return value === undefined || value.length < 4 ? undefined : new Fields(value).u32(0);
  }

  text(type: number): string | undefined {
    const value = this.#values.get(type);
    if (value === undefined) return undefined;
    const end = value.indexOf(0);
    return Buffer.from(end < 0 ? value : value.subarray(0, end)).toString('utf8');
  }

  nested(type: number): Attributes | undefined {
    const value = this.#values.get(type);
    return value === undefined ? undefined : new Attributes(value);
  }
}

function align(length: number): number {
  return (length + 3) & ~3;
}

function padded(bytes: Uint8Array): Uint8Array {
  const length = align(bytes.length);
  if (length === bytes.length) return bytes;
  const out = new Uint8Array(length);
  out.set(bytes);
  return out;
}

function malformed(what: string, at: number, bytes: Uint8Array): KerseyError {
  const message = `netlink: the ${what} at byte ${at} of ${bytes.length} has an impossible length`;
  return new KerseyError('INTERNAL', message, { remedy: 'please report this' });
}
