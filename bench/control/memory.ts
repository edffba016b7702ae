// What the daemon has in memory, and what it is made of.
//
// From /proc/PID/smaps, by what each mapping is; the JavaScript heap, which has no name there, from V8's own words
// (--trace-gc) about the last collection. Resident counts shared pages whole, proportional shares them among their users.

import { readFileSync } from 'node:fs';

/** Bytes. */
export interface Footprint {
  readonly resident: number;
  readonly proportional: number;
  /** Of resident, the most there ever was. */
  readonly peak: number;
  /** Resident, by kind of mapping. */
  readonly parts: Readonly<Record<string, number>>;
}

export function footprint(pid: number, heap: number | undefined): Footprint {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mappings = parseSmaps(readFileSync(`/proc/${pid}/smaps`, 'utf8'));
  const parts: Record<string, number> = {};
  for (const { name, resident } of mappings) {
    const part = partOf(name);
    parts[part] = (parts[part] ?? 0) + resident;
  }
  if (heap !== undefined) {
    // The heap's pages are the larger part of what has no name.
    const held = Math.min(heap, parts[unnamed] ?? 0);
    parts['JavaScript heap'] = held;
    parts[unnamed] = (parts[unnamed] ?? 0) - held;
  }
  return {
    resident: statusBytes(status, 'VmRSS'),
    peak: statusBytes(status, 'VmHWM'),
    proportional: mappings.reduce((sum, mapping) => sum + mapping.proportional, 0),
    parts,
  };
}

/** Bytes that V8 holds for its heap, from what --trace-gc has printed last. */
export function heapOf(trace: string): number | undefined {
  // ... 812 ms: Scavenge 21.2 (36.1) -> 17.9 (36.8) MB, ...
  const last = [...trace.matchAll(/-> [\d.]+ \(([\d.]+)\) MB/g)].at(-1);
  return last?.[1] === undefined ? undefined : Number(last[1]) * 1024 * 1024;
}

const unnamed = 'other memory without a file: native heap, stacks, code';

function partOf(name: string): string {
  if (name === process.execPath || name.endsWith('/node')) return "node's program file";
  if (name.endsWith('/kersey.node')) return 'libraries';
  if (/\.so(\.|$)/.test(name)) return 'libraries';
  if (name.includes('bpf-map')) return 'receive ring';
  return name === '' || name.startsWith('[') ? unnamed : 'other files';
}

interface Mapping {
  readonly name: string;
  readonly resident: number;
  readonly proportional: number;
}

function parseSmaps(text: string): readonly Mapping[] {
  // 7f0c1c000000-7f0c1c021000 rw-p 00000000 00:00 0 [heap]
  return text.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m).map((entry) => ({
    name: /^\S+ \S+ \S+ \S+ \S+[ ]*(.*)$/m.exec(entry)?.[1] ?? '',
    resident: statusBytes(entry, 'Rss'),
    proportional: statusBytes(entry, 'Pss'),
  }));
}

function statusBytes(text: string, key: string): number {
  return Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
}
