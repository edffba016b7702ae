// How long after its `put` a lease is in force: 1,000 at once, and then one more, again and again.
//
// In force is a lease when its route is there; the engine has its peer by then, because that comes first (reconcile.ts),
// and the status must say so. The clock starts when the first put is about to be sent, by another process on the same
// machine.

import { setTimeout as delay } from 'node:timers/promises';
import { KerseyError } from '../../src/errors.ts';
import type { ControlNumbers, ControlOptions } from './control.ts';
import { subnetOf } from './leases.ts';
import type { ControlNode, ControlWorld } from './world.ts';

export const many = 1000;
/** Between single leases, in milliseconds: at random, so that nobody's timer is met each time. */
const longestPause = 150;

export async function measureArrivals(
  { writer }: ControlWorld,
  node: ControlNode,
  { rounds, singles, signal }: ControlOptions,
): Promise<ControlNumbers> {
  const subnets = Array.from({ length: many }, (_, i) => subnetOf(i));
  const [whole, afterAnswer]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    if (round > 0) {
      await writer.carryOut({ what: 'delete', from: 0, count: many });
      await node.routes.whenGone(subnets, signal);
    }
    const { sent, done } = await writer.carryOut({ what: 'put', from: 0, count: many });
    const there = await node.routes.whenThere(subnets, signal);
    whole.push(there - sent);
    afterAnswer.push(there - done);
    await assertPeers(node, many);
  }
  const single: number[] = [];
  for (let index = many; index < many + singles; index++) {
    await delay(Math.random() * longestPause, undefined, { signal });
    const { sent } = await writer.carryOut({ what: 'put', from: index, count: 1 });
    single.push((await node.routes.whenThere([subnetOf(index)], signal)) - sent);
  }
  await assertPeers(node, many + singles);
  const sorted = single.toSorted((a, b) => a - b);
  const quantile = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1] ?? NaN;
  return {
    'thousand.ms': whole,
    'thousand.afterAnswerMs': afterAnswer,
    'one.p50Ms': [quantile(0.5)],
    'one.p99Ms': [quantile(0.99)],
    'one.maxMs': [quantile(1)],
  };
}

async function assertPeers({ daemon }: ControlNode, count: number): Promise<void> {
  const peers = (await daemon.status())?.overlays[0]?.peers.length;
  if (peers === count) return;
  throw new KerseyError('INTERNAL', `the routes were there, and ${peers ?? 'no'} peers of ${count}`);
}
