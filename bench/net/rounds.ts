// Interleaved rounds: every round runs every contender in a fresh lab, the next round starts with the next contender,
// and a ratio is taken between two results of one round. So what changes on the machine over time hits all alike.

import { Iperf, roundTrip } from '../../src/lab/measure.ts';
import type { OffloadProfile } from '../../src/lab/offloads.ts';
import { PayloadReceiver } from '../../src/lab/payload.ts';
import type { Contender, Joined, TestName } from './contender.ts';

export const allTests: readonly TestName[] = ['tcp1', 'tcp8', 'udp64', 'udp1400', 'roundTrip'];

/** Every number that a test gives, by the names of metrics.ts. */
export type Sample = Readonly<Record<string, number>>;

export interface RoundResult {
  readonly contender: string;
  readonly profile: OffloadProfile;
  readonly round: number;
  readonly sample: Sample;
  /** What the contender dropped, by reason, where it tells. */
  readonly drops: Readonly<Record<string, number>>;
}

export interface RoundsOptions {
  readonly contenders: readonly Contender[];
  readonly profiles: readonly OffloadProfile[];
  readonly rounds: number;
  readonly seconds: Readonly<Record<TestName, number>>;
  /** The tests that can run here. */
  readonly tests: readonly TestName[];
  readonly signal: AbortSignal;
  /** Called before each contender's turn. */
  readonly onTurn: (contender: string, profile: OffloadProfile, round: number) => void;
  readonly onResult: (result: RoundResult) => void;
}

export async function runRounds(options: RoundsOptions): Promise<readonly RoundResult[]> {
  const results: RoundResult[] = [];
  for (const profile of options.profiles) {
    for (let round = 0; round < options.rounds; round++) {
      for (const contender of rotated(options.contenders, round)) {
        options.onTurn(contender.name, profile, round);
        const joined = await contender.open({ offloads: profile, signal: options.signal });
        try {
          const { tests } = contender;
          const wanted = options.tests.filter((test) => tests?.includes(test) !== false);
          const sample = await runTests(joined, wanted, options.seconds);
          const drops = (await joined.drops?.()) ?? {};
          const result = { contender: contender.name, profile, round, sample, drops };
          results.push(result);
          options.onResult(result);
        } finally {
          await joined.close();
        }
      }
    }
  }
  return results;
}

function rotated<T>(items: readonly T[], by: number): readonly T[] {
  const start = by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

async function runTests(
  joined: Joined,
  tests: readonly TestName[],
  seconds: Readonly<Record<TestName, number>>,
): Promise<Sample> {
  const sample: Record<string, number> = { ...(await checkPayload(joined)) };
  for (const test of tests) {
    for (const [metric, value] of Object.entries(await runTest(test, joined, seconds[test]))) {
      sample[`${test}.${metric}`] = value;
    }
  }
  return sample;
}

/** No number counts when the bytes that arrive are not those that were sent. */
async function checkPayload({ lab, address }: Joined): Promise<Sample> {
  const receiver = await PayloadReceiver.open(lab.host('h2'), address);
  const { bytes, faults } = await receiver.tcpFrom(lab.host('h1'));
  await receiver.close();
  if (faults.length > 0) throw new Error(`corrupted payload: ${faults.join('; ')}`);
  return { payloadBytes: bytes };
}

async function runTest(test: TestName, { lab, address }: Joined, seconds: number): Promise<Sample> {
  const [client, server] = [lab.host('h1'), lab.host('h2')];
  if (test === 'roundTrip') {
    const { p50Us, p99Us } = await roundTrip(client, server, address, { seconds, protocol: 'tcp' });
    return { p50Us, p99Us };
  }
  const iperf = await Iperf.open(server, address);
  try {
    if (test === 'tcp1' || test === 'tcp8') {
      const streams = test === 'tcp1' ? 1 : 8;
      const { bitsPerSecond, retransmits, cpuSecondsPerGB } = await iperf.tcp(client, { seconds, streams });
      return { gbps: bitsPerSecond / 1e9, retransmits, cpuSecondsPerGB };
    }
    const size = test === 'udp64' ? 64 : 1400;
    const { packetsPerSecond, bitsPerSecond, lossRatio } = await iperf.udp(client, { seconds, size });
    return { kpps: packetsPerSecond / 1000, gbps: bitsPerSecond / 1e9, lossPercent: lossRatio * 100 };
  } finally {
    await iperf.close();
  }
}
