// What the control plane on etcd promises: how soon leases are in force, what the daemon takes of memory, and what
// happens while etcd is away. Everything is real: etcd, `flanneld`, namespaces.

import { setTimeout as delay } from 'node:timers/promises';
import { KerseyError } from '../../src/errors.ts';
import { twice } from '../lib/twice.ts';
import { measureArrivals } from './arrivals.ts';
import { footprint, heapOf, type Footprint } from './memory.ts';
import { measureOutage, type Outage } from './outage.ts';
import { ControlWorld } from './world.ts';

type OutageMetric = 'sent' | 'lost' | 'cpuPercent' | 'routeMs' | 'okMs';

export type ControlMetric =
  | 'thousand.ms'
  | 'thousand.afterAnswerMs'
  | 'one.p50Ms'
  | 'one.p99Ms'
  | 'one.maxMs'
  | 'memory.residentMB'
  | 'memory.proportionalMB'
  | 'memory.peakMB'
  | `${Outage}.${OutageMetric}`;

/** Every value measured, in the order of measuring. */
export type ControlNumbers = Readonly<Partial<Record<ControlMetric, readonly number[]>>>;

export interface ControlLengths {
  /** How often 1,000 leases come. */
  readonly rounds: number;
  readonly singles: number;
  readonly outageSeconds: number;
}

export interface ControlOptions extends ControlLengths {
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

export interface Control {
  readonly numbers: ControlNumbers;
  readonly footprint?: Footprint;
  readonly faults: readonly string[];
}

/** After the last lease, until the memory is looked at. */
const settleMs = 5000;
const megabyte = 1e6;

export async function runControl(options: ControlOptions): Promise<Control> {
  const parts: readonly (readonly [title: string, run: () => Promise<Control>])[] = [
    ['leases that come', () => arrivalsAndMemory(options)],
    ['etcd killed', async () => ({ numbers: await measureOutage('killed', options), faults: [] })],
    ['etcd swallowed', async () => ({ numbers: await measureOutage('swallowed', options), faults: [] })],
  ];
  let all: Control = { numbers: {}, faults: [] };
  for (const [title, run] of parts) {
    options.say(title);
    const part = await twice(run, options.signal).catch((error: unknown): Control => {
      options.signal.throwIfAborted();
      return { numbers: {}, faults: [`${title}: ${KerseyError.from(error).message}`] };
    });
    options.say(show(part.numbers));
    all = {
      ...{ ...all, ...part },
      numbers: { ...all.numbers, ...part.numbers },
      faults: [...all.faults, ...part.faults],
    };
  }
  return all;
}

async function arrivalsAndMemory(options: ControlOptions): Promise<Control> {
  const { signal } = options;
  const world = await ControlWorld.open(['h1'], signal);
  try {
    const node = await world.node('h1', ['--trace-gc']);
    const numbers = await measureArrivals(world, node, options);
    await delay(settleMs, undefined, { signal });
    const memory = footprint(node.pid, heapOf(node.daemon.process.stdout));
    return {
      numbers: {
        ...numbers,
        'memory.residentMB': [memory.resident / megabyte],
        'memory.proportionalMB': [memory.proportional / megabyte],
        'memory.peakMB': [memory.peak / megabyte],
      },
      footprint: memory,
      faults: [],
    };
  } finally {
    await world.close();
  }
}

function show(numbers: ControlNumbers): string {
  return Object.entries(numbers)
    .map(([name, values]) => `  ${name} ${values.map((value) => value.toFixed(2)).join(' ')}`)
    .join('\n');
}
