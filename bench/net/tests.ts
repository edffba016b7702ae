// One test between two joined hosts, as numbers.

import { lossAccount, readDrops, type DropSnapshot, type LossAccount } from '../../src/lab/losses.ts';
import { Iperf, roundTrip, type DatagramResult } from '../../src/lab/measure.ts';
import { PayloadReceiver } from '../../src/lab/payload.ts';
import type { Joined, TestName } from './contender.ts';

/** Numbers by name. */
export type Sample = Readonly<Record<string, number>>;

export interface TestResult {
  readonly numbers: Sample;
  /** Of the UDP tests. */
  readonly losses?: LossAccount;
}

export async function runTest(test: TestName, joined: Joined, seconds: number): Promise<TestResult> {
  const { lab, address } = joined;
  const [client, server] = [lab.host('h1'), lab.host('h2')];
  if (test === 'roundTrip') {
    const { p50Us, p99Us } = await roundTrip(client, server, address, { seconds, protocol: 'tcp' });
    return { numbers: { p50Us, p99Us } };
  }
  const iperf = await Iperf.open(server, address);
  try {
    if (test === 'udp1400') return await udp(joined, () => iperf.udp(client, { seconds, size: 1400 }));
    if (test === 'udp64') {
      const each = Math.max(1, Math.round(seconds / (1 + limitedLoads.length)));
      return await mostDelivered((packetsPerSecond) =>
        udp(joined, () => iperf.udp(client, { seconds: each, size: 64, packetsPerSecond, burst: 10 })),
      );
    }
    const streams = test === 'tcp1' ? 1 : 8;
    const { bitsPerSecond, retransmits, cpuSecondsPerGB } = await iperf.tcp(client, { seconds, streams });
    return { numbers: { gbps: bitsPerSecond / 1e9, retransmits, cpuSecondsPerGB } };
  } finally {
    await iperf.close();
  }
}

/**
 * Of what is delivered when the sender is not held back. Such a sender takes the CPU that the reader needs, so what is
 * delivered is largest at some load below the largest (RFC 2544, section 26.1, searches for it; this tries three).
 */
const limitedLoads = [1.2, 1.5];

async function mostDelivered(run: (packetsPerSecond: number) => Promise<TestResult>): Promise<TestResult> {
  const runs = [await run(0)];
  const delivered = (runs[0]?.numbers['kpps'] ?? 0) * 1000;
  for (const load of limitedLoads) if (delivered > 0) runs.push(await run(load * delivered));
  const best = runs.reduce((a, b) => ((b.numbers['kpps'] ?? 0) > (a.numbers['kpps'] ?? 0) ? b : a));
  const unexplained = runs.reduce((sum, { numbers }) => sum + (numbers['unexplained'] ?? 0), 0);
  const reachedKpps = Math.max(...runs.map(({ numbers }) => numbers['reachedKpps'] ?? 0));
  return { ...best, numbers: { ...best.numbers, unexplained, reachedKpps } };
}

async function udp(
  joined: Joined,
  send: () => Promise<DatagramResult>,
): Promise<{ numbers: Sample; losses: LossAccount }> {
  const before = await snapshot(joined);
  const { sent, delivered, seconds, packetsPerSecond, bitsPerSecond, lossRatio } = await send();
  const losses = lossAccount({ sent, delivered }, before, await snapshot(joined));
  const numbers = {
    kpps: packetsPerSecond / 1000,
    // What the tunnel carried, however much of it the receiving program could read.
    reachedKpps: (delivered + losses.atReceiver) / seconds / 1000,
    gbps: bitsPerSecond / 1e9,
    lossPercent: lossRatio * 100,
    unexplained: losses.unexplained,
  };
  return { numbers, losses };
}

async function snapshot(joined: Joined): Promise<DropSnapshot> {
  return readDrops(joined.lab.hosts, await joined.totals?.());
}

/** Payloads that did not arrive as they were sent; none when all is well. */
export async function checkPayload({ lab, address }: Joined): Promise<readonly string[]> {
  const receiver = await PayloadReceiver.open(lab.host('h2'), address);
  try {
    return (await receiver.tcpFrom(lab.host('h1'))).faults;
  } finally {
    await receiver.close();
  }
}
