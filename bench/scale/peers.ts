// Does a full table of 65,536 peers cost throughput? Two pairs of engines, one with a full table and one with a single
// peer, carry one TCP stream each. They take turns: a stream is stopped and continued by signals, so that slots of the two
// are neighbours in time. After every phase the pairs change roles, so that whatever makes one pair faster favours neither.
//
// What is looked for is one part in fifty, and two slots of one and the same TCP stream differ by a tenth. So everything
// is on one CPU, where throughput is what a packet costs, and BBR, which tries other rates and stops now and then, is
// left out. The median was 0.986 to 1.006 in five runs of 40 s; with one pair of engines whose table changed every 0.7 s it had
// been 0.96 to 1.06 in runs of 60 s.
//
// An offloaded flow is looked up once (docs/adr/0015-flow-offload.md). Without flow offload every packet is.

import { setTimeout as delay } from 'node:timers/promises';
import type { Background } from '../../src/lab/command.ts';
import { Iperf } from '../../src/lab/measure.ts';
import { stealLimit, withSteal, type Attempt } from '../lib/steal.ts';
import { spreadOf } from '../lib/statistics.ts';
import { EnginePair, type EnginePairOptions } from './engine-pair.ts';
import type { ScaleNumbers, ScaleOptions } from './scale.ts';

type Quantity = 'ratio' | 'gbpsOne' | 'gbpsMany';
export type PeersMetric = `${'peers' | 'lookedUp'}.${Quantity}`;

const many = 65_536;
const cpu = 0;
/** Each a pair of phases: both pairs of engines have had both tables. */
const crossovers = 5;
const slotMs = 100;
/** Until what is on its way has arrived. */
const drainMs = 5;
/** Until a stream is as fast as it gets. */
const warmUpMs = 1000;

export async function comparePeers(options: ScaleOptions): Promise<ScaleNumbers> {
  const compared = await compareWith(options, {});
  const short = { ...options, peersSeconds: options.peersSeconds / 3 };
  const lookedUp = await compareWith(short, { disable: ['flow-offload'] });
  return { ...named('peers', compared), ...named('lookedUp', lookedUp) };
}

function named(what: 'peers' | 'lookedUp', values: readonly Slots[]): ScaleNumbers {
  return {
    [`${what}.gbpsOne`]: values.map(({ one }) => one),
    [`${what}.gbpsMany`]: values.map((value) => value.many),
    [`${what}.ratio`]: values.map(({ ratio }) => ratio),
  };
}

interface Slots {
  readonly one: number;
  readonly many: number;
  readonly ratio: number;
}

/** Medians of each crossover. */
async function compareWith(
  { peersSeconds, signal }: ScaleOptions,
  options: EnginePairOptions,
): Promise<readonly Slots[]> {
  const lanes: Lane[] = [];
  try {
    for (let i = 0; i < 2; i++) lanes.push(await Lane.open(signal, options));
    const [first, second] = lanes;
    if (first === undefined || second === undefined) throw new RangeError('two lanes');
    const phaseMs = (peersSeconds * 1000) / (2 * crossovers);
    const values: Slots[] = [];
    for (let i = 0; i < crossovers; i++) {
      const halves = [
        await phase({ one: first, many: second }, phaseMs, signal),
        await phase({ one: second, many: first }, phaseMs, signal),
      ];
      values.push({
        one: geometricMean(halves.map(({ one }) => one)),
        many: geometricMean(halves.map((half) => half.many)),
        ratio: geometricMean(halves.map(({ ratio }) => ratio)),
      });
    }
    return values;
  } finally {
    await Promise.all(lanes.map((lane) => lane.close()));
  }
}

/** Medians over the slots of a phase, without those from which much was stolen where these are fewer than half. */
async function phase(
  lanes: { readonly one: Lane; readonly many: Lane },
  ms: number,
  signal: AbortSignal,
): Promise<Slots> {
  await lanes.one.engines.setPeers(1, 1);
  await lanes.many.engines.setPeers(many, 1);
  const slots: Attempt<Slots>[] = [];
  const deadline = performance.now() + ms;
  // The first come after a longer pause, in which other things ran.
  await neighbours(0, lanes, signal);
  do slots.push(await withSteal(() => neighbours(slots.length, lanes, signal)));
  while (performance.now() < deadline);
  const calm = slots.filter(({ stealPercent }) => stealPercent <= stealLimit);
  const counted = calm.length > slots.length / 2 ? calm : slots;
  const medianOf = (key: keyof Slots): number => spreadOf(counted.map(({ value }) => value[key])).median;
  return { one: medianOf('one'), many: medianOf('many'), ratio: medianOf('ratio') };
}

/** Alternately the one and the other first. */
async function neighbours(
  index: number,
  lanes: { readonly one: Lane; readonly many: Lane },
  signal: AbortSignal,
): Promise<Slots> {
  const full = index % 2 === 0 ? undefined : await lanes.many.slot(signal);
  const one = await lanes.one.slot(signal);
  const gbps = full ?? (await lanes.many.slot(signal));
  return { one, many: gbps, ratio: gbps / one };
}

/** A pair of engines and its stream, which is stopped but in its slots. */
class Lane {
  readonly engines: EnginePair;
  readonly #stream: Background;
  #received = 0;

  private constructor(engines: EnginePair, stream: Background) {
    this.engines = engines;
    this.#stream = stream;
  }

  static async open(signal: AbortSignal, options: EnginePairOptions): Promise<Lane> {
    const engines = await EnginePair.open(signal, { ...options, cpu });
    try {
      const [client, server] = [engines.lab.host('h1'), engines.lab.host('h2')];
      const iperf = await Iperf.open(server, engines.address);
      const lane = new Lane(engines, iperf.endless(client, { cpu, congestion: 'cubic' }));
      await lane.#run(warmUpMs, signal);
      return lane;
    } catch (error) {
      await engines.close();
      throw error;
    }
  }

  /** Gbit/s while the stream goes on for a slot. */
  async slot(signal: AbortSignal): Promise<number> {
    const before = this.#received;
    const ms = await this.#run(slotMs, signal);
    return ((this.#received - before) * 8) / ms / 1e6;
  }

  /** For about so long; answers with how long it was. */
  async #run(ms: number, signal: AbortSignal): Promise<number> {
    if (!this.#stream.running) throw this.#stream.failure('the stream');
    const start = performance.now();
    this.#stream.kill('SIGCONT');
    await delay(ms, undefined, { signal });
    this.#stream.kill('SIGSTOP');
    const end = performance.now();
    await delay(drainMs, undefined, { signal });
    this.#received = (await this.engines.received()).bytes;
    return end - start;
  }

  close(): Promise<void> {
    return this.engines.close();
  }
}

function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
