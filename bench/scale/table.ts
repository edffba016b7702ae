// Tables of peers of any size: one that exists, and others that nobody ever sends to.

import type { EnginePeer } from '../../src/engine/engine.ts';

/** Two generations of a table share no peer but the one that exists. */
export function peersOf(count: number, generation: number, real: EnginePeer): readonly EnginePeer[] {
  const others = Array.from({ length: count - 1 }, (_, index) => {
    const number = (index + generation * (count - 1)) % 0x10000;
    const [high, low] = [number >> 8, number & 0xff];
    const mac = `02:00:00:${hex(generation & 0xff)}:${hex(high)}:${hex(low)}`;
    return { prefix: `10.${high}.${low}.0/24`, outer: `172.20.${high}.${low}`, vtepMac: mac };
  });
  // In the middle: neither the first nor the last that is built.
  return [...others.slice(0, count >> 1), real, ...others.slice(count >> 1)];
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
