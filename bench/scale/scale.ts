// What large clusters ask: many peers, tables replaced under load, and a daemon that does nothing while nothing happens.

import type { LossAccount } from '../../src/lab/losses.ts';
import { KerseyError } from '../../src/errors.ts';
import { twice } from '../lib/twice.ts';
import { idleWithPeers } from './idle.ts';
import { comparePeers, type PeersMetric } from './peers.ts';
import { replaceUnderLoad } from './replace.ts';

export type ScaleMetric =
  | PeersMetric
  | 'replace.ms'
  | 'replace.lost'
  | 'replace.lostByReader'
  | 'replace.lostBefore'
  | 'replace.sent'
  | 'replace.unexplained'
  | 'replace.tcpGbps'
  | 'idle.percent';

/** Every value measured, in the order of measuring. */
export type ScaleNumbers = Readonly<Partial<Record<ScaleMetric, readonly number[]>>>;

export interface ScaleLengths {
  /** During which 1 and 65,536 peers are compared; a third of it once more, without flow offload. */
  readonly peersSeconds: number;
  readonly replaceSeconds: number;
  /** Until a daemon's start has settled: code compiled, and its garbage collected, which V8 does half a minute later (0.15 s). */
  readonly settleSeconds: number;
  readonly idleSeconds: number;
}

export interface ScaleOptions extends ScaleLengths {
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

export interface Scale {
  readonly numbers: ScaleNumbers;
  /** Of the UDP stream while tables were replaced. */
  readonly losses?: LossAccount;
  readonly faults: readonly string[];
}

export async function runScale(options: ScaleOptions): Promise<Scale> {
  const parts: readonly (readonly [title: string, run: () => Promise<Scale>])[] = [
    ['65,536 peers against 1', async () => ({ numbers: await comparePeers(options), faults: [] })],
    ['10,000 peers replaced under load', () => replaceUnderLoad(options)],
    ['idle with 1,000 peers', async () => ({ numbers: await idleWithPeers(options), faults: [] })],
  ];
  let all: Scale = { numbers: {}, faults: [] };
  for (const [title, run] of parts) {
    options.say(title);
    const part = await twice(run, options.signal).catch((error: unknown): Scale => {
      options.signal.throwIfAborted();
      return { numbers: {}, faults: [`${title}: ${KerseyError.from(error).message}`] };
    });
    options.say(show(part.numbers));
    all = {
      ...all,
      ...part,
      numbers: { ...all.numbers, ...part.numbers },
      faults: [...all.faults, ...part.faults],
    };
  }
  return all;
}

function show(numbers: ScaleNumbers): string {
  return Object.entries(numbers)
    .map(([name, values]) => `  ${name} ${values.map((value) => value.toFixed(2)).join(' ')}`)
    .join('\n');
}
