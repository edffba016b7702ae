// Does replacing the whole table lose packets, and how long does it take?
//
// A UDP stream of constant rate and a TCP stream run between two engines of 10,000 peers, first while nothing happens,
// then while both tables are replaced again and again by tables that share only the peer that is talked to. A rate
// that loses packets without replacements says nothing about them; then a lower one is tried.
//
// Building the tables is work for JavaScript, beside which the program that reads the UDP stream may come too late: its
// socket holds 50 ms of the stream. What had come all the way to that socket is counted apart.

import { setTimeout as delay } from 'node:timers/promises';
import { lossAccount, unreadLimit, type LossAccount } from '../../src/lab/losses.ts';
import { Iperf } from '../../src/lab/measure.ts';
import { leastStolen } from '../lib/steal.ts';
import { during } from './during.ts';
import { EnginePair } from './engine-pair.ts';
import type { ScaleNumbers, ScaleOptions } from './scale.ts';

const count = 10_000;
const [packetsPerSecond, size, tcpBitsPerSecond] = [5000, 200, 1e9] as const;
/** Between replacements: back to back, building the tables would be all the machine does. */
const pauseMs = 200;
/**
 * Without replacements at the end: a reader that comes too late then is told to stop before it has read everything, and
 * what its socket still holds no counter tells from what was lost.
 */
const calmMs = 500;

interface Phase {
  readonly losses: LossAccount;
  readonly tcpGbps: number;
}

export async function replaceUnderLoad(
  options: ScaleOptions,
): Promise<{ numbers: ScaleNumbers; losses: LossAccount; faults: readonly string[] }> {
  const pair = await EnginePair.open(options.signal);
  try {
    await pair.setPeers(count, 0);
    const { quiet, rate } = await losslessRate(pair, options);
    const { value } = await leastStolen(() => replaceWhileStreaming(pair, options, rate), {
      signal: options.signal,
      again: (attempts) => attempts < 3,
    });
    const { times, loaded } = value;
    const { atReceiver } = loaded.losses;
    const { unexplained, sent } = loaded.losses;
    return {
      losses: loaded.losses,
      numbers: {
        'replace.ms': times,
        'replace.lost': [lostOf(loaded) - atReceiver],
        'replace.lostByReader': [atReceiver],
        'replace.lostBefore': [lostOf(quiet)],
        'replace.sent': [sent],
        'replace.unexplained': [unexplained],
        'replace.tcpGbps': [loaded.tcpGbps],
      },
      faults:
        unexplained > unreadLimit
          ? [`table replaced under load: ${unexplained} of ${sent} packets lost unexplained`]
          : [],
    };
  } finally {
    await pair.close();
  }
}

async function replaceWhileStreaming(
  pair: EnginePair,
  { replaceSeconds, signal }: ScaleOptions,
  rate: number,
): Promise<{ times: readonly number[]; loaded: Phase }> {
  const calm = AbortSignal.timeout(replaceSeconds * 1000 - calmMs);
  const [loaded, times] = await during(stream(pair, replaceSeconds, rate), (ended) =>
    replaceUntil(pair, AbortSignal.any([ended, calm, signal])),
  );
  return { times, loaded };
}

function lostOf({ losses }: Phase): number {
  return losses.sent - losses.delivered;
}

/** The first rate, halved up to three times, at which nothing is lost while the table stays. */
async function losslessRate(
  pair: EnginePair,
  { replaceSeconds }: ScaleOptions,
): Promise<{ quiet: Phase; rate: number }> {
  for (let rate: number = packetsPerSecond; ; rate /= 2) {
    const quiet = await stream(pair, Math.min(replaceSeconds, 3), rate);
    if (lostOf(quiet) === 0 || rate <= packetsPerSecond / 8) return { quiet, rate };
  }
}

async function stream(pair: EnginePair, seconds: number, rate: number): Promise<Phase> {
  const [client, server] = [pair.lab.host('h1'), pair.lab.host('h2')];
  const servers = [
    await Iperf.open(server, pair.address),
    await Iperf.open(server, pair.address, 5202),
  ] as const;
  try {
    const before = await pair.drops();
    const [udp, tcp] = await Promise.all([
      servers[0].udp(client, { seconds, size, packetsPerSecond: rate }),
      servers[1].tcp(client, { seconds, bitsPerSecond: tcpBitsPerSecond }),
    ]);
    const losses = lossAccount(udp, before, await pair.drops());
    return { losses, tcpGbps: tcp.bitsPerSecond / 1e9 };
  } finally {
    await Promise.all(servers.map((iperf) => iperf.close()));
  }
}

/** Replaces both tables until told to stop; answers with the milliseconds that each replacement took. */
async function replaceUntil(pair: EnginePair, signal: AbortSignal): Promise<readonly number[]> {
  const times: number[] = [];
  for (let generation = 1; !signal.aborted; generation++) {
    times.push(...(await pair.setPeers(count, generation)));
    await delay(pauseMs, undefined, { signal }).catch(() => undefined);
  }
  return times;
}
