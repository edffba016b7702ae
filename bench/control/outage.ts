// etcd goes away under a running network of 1,000 peers, killed or swallowed, and comes back.
//
// Two nodes exchange UDP packets with sequence numbers all the time (iperf3). CPU time is that of the receiving node's
// daemon without its forwarding threads, which are as busy as the packets ask. Converged is the network when a lease
// that was put by somebody else, during the outage where etcd is only swallowed and right after it is back where it was
// killed, has its route, and when the status says ok.

import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Iperf } from '../../src/lab/measure.ts';
import { readDrops, lossAccount } from '../../src/lab/losses.ts';
import { many } from './arrivals.ts';
import type { ControlNumbers, ControlOptions } from './control.ts';
import { leaseOf, subnetOf } from './leases.ts';
import { ControlWorld } from './world.ts';
import type { ControlNode } from './world.ts';

export type Outage = 'killed' | 'swallowed';

const [size, packetsPerSecond] = [200, 500] as const;
/** Around the outage: until it is noticed, and until all has converged. */
const [noticeSeconds, recoverSeconds] = [10, 40] as const;
const now = (): number => performance.timeOrigin + performance.now();

export async function measureOutage(kind: Outage, options: ControlOptions): Promise<ControlNumbers> {
  const { outageSeconds, signal } = options;
  const world = await ControlWorld.open(['h1', 'h2'], signal);
  try {
    await world.writer.carryOut({ what: 'put', from: 0, count: many });
    const [sender, node] = [await world.node('h1'), await world.node('h2')];
    await sender.daemon.until('knows all', ({ overlays }) => overlays[0]?.peers.length === many + 1);
    const iperf = await Iperf.open(node.daemon.host, node.address);
    const before = await readDrops(world.lab.hosts);
    const seconds = noticeSeconds + outageSeconds + recoverSeconds;
    const stream = iperf.udp(sender.daemon.host, { seconds, size, packetsPerSecond });
    // It is awaited below, unless something else fails first.
    stream.catch(() => undefined);
    const numbers = await goThrough(world, node, kind, options);
    const udp = await stream;
    const { places } = lossAccount(udp, before, await readDrops(world.lab.hosts));
    if (udp.sent !== udp.delivered) options.say(`  lost at ${JSON.stringify(places)}`);
    await iperf.close();
    return { ...numbers, [`${kind}.sent`]: [udp.sent], [`${kind}.lost`]: [udp.sent - udp.delivered] };
  } finally {
    await world.close();
  }
}

async function goThrough(
  { etcd, writer }: ControlWorld,
  { daemon, pid, routes }: ControlNode,
  kind: Outage,
  { outageSeconds, signal }: ControlOptions,
): Promise<ControlNumbers> {
  await (kind === 'killed' ? etcd.kill(0) : etcd.blackHole());
  await daemon.until('has noticed', ({ state }) => state === 'degraded');
  const [used, start] = [controlSeconds(pid), performance.now()];
  await delay(outageSeconds * 1000, undefined, { signal });
  const percent = (100 * (controlSeconds(pid) - used)) / ((performance.now() - start) / 1000);
  if (kind === 'swallowed') await writer.carryOut({ what: 'put', from: many, count: 1 });
  await (kind === 'killed' ? etcd.startMember(0) : etcd.heal());
  const back = now();
  if (kind === 'killed') await putByHand(etcd);
  const there = await routes.whenThere([subnetOf(many)], signal);
  await daemon.until('is well again', ({ state }) => state === 'ok');
  return {
    [`${kind}.cpuPercent`]: [percent],
    [`${kind}.routeMs`]: [there - back],
    [`${kind}.okMs`]: [now() - back],
  };
}

/** Not by the writer, which has to find etcd again first. */
async function putByHand(etcd: ControlWorld['etcd']): Promise<void> {
  const { key, value } = leaseOf(many);
  await etcd.ctl('put', key, value);
}

/** CPU time of all threads but those that move packets, in seconds. A thread that ended takes its time with it. */
function controlSeconds(pid: number): number {
  const seconds = readdirSync(`/proc/${pid}/task`).map((task) => {
    const read = (file: string): string => readFileSync(`/proc/${pid}/task/${task}/${file}`, 'utf8');
    // schedstat: nanoseconds on a CPU, nanoseconds waiting, times.
    return read('comm').startsWith('kersey-') ? 0 : Number(read('schedstat').split(' ')[0]) / 1e9;
  });
  return seconds.reduce((sum, one) => sum + one, 0);
}
