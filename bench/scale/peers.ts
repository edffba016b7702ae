// Does a full table of 65,536 peers cost throughput? One pair of engines stands all the time; its table changes between
// tests, so that nothing else differs.

import { Iperf } from '../../src/lab/measure.ts';
import { withSteal, type Attempt } from '../lib/steal.ts';
import { EnginePair } from './engine-pair.ts';
import type { ScaleNumbers, ScaleOptions } from './scale.ts';

const many = 65_536;

export async function comparePeers({ pairs, pairSeconds, signal }: ScaleOptions): Promise<ScaleNumbers> {
  const pair = await EnginePair.open(signal);
  try {
    const [client, server] = [pair.lab.host('h1'), pair.lab.host('h2')];
    const iperf = await Iperf.open(server, pair.address);
    const measure = async (count: number): Promise<number> => {
      await pair.setPeers(count, 1);
      return (await iperf.tcp(client, { seconds: pairSeconds })).bitsPerSecond / 1e9;
    };
    // The first test after the start is slower.
    await measure(1);
    const measured: Attempt<{ one: number; many: number }>[] = [];
    for (let index = 0; index < pairs + Math.floor(pairs / 3); index++) {
      // Whatever gets faster or slower in time favours neither.
      const next = await withSteal(async () => {
        if (index % 2 === 0) return { one: await measure(1), many: await measure(many) };
        const full = await measure(many);
        return { one: await measure(1), many: full };
      });
      measured.push(next);
    }
    const values = leastStolenOf(measured, pairs);
    return {
      'peers.gbpsOne': values.map((value) => value.one),
      'peers.gbpsMany': values.map((value) => value.many),
      'peers.ratio': values.map((value) => value.many / value.one),
    };
  } finally {
    await pair.close();
  }
}

/** So many that lost the least CPU time to others. */
function leastStolenOf<T>(attempts: readonly Attempt<T>[], count: number): readonly T[] {
  const byTheft = attempts.toSorted((a, b) => a.stealPercent - b.stealPercent);
  return byTheft.slice(0, count).map(({ value }) => value);
}
