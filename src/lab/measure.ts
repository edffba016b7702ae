// Measuring between two hosts with programs that are not ours: iperf3, ping, sockperf.
//
// CPU time is the whole machine's, see cpu.ts.

import { KerseyError } from '../errors.ts';
import type { Background } from './command.ts';
import { awaitCondition } from './condition.ts';
import { cpuTimesSince, readCpuTimes } from './cpu.ts';
import type { Host } from './host.ts';

export interface Ping {
  readonly sent: number;
  readonly received: number;
  /** Microseconds; undefined when nothing came back. */
  readonly minUs: number | undefined;
  readonly avgUs: number | undefined;
}

/**
 * Back-to-back pings when `intervalS` is 0.0005 or less: ping rounds it to "as soon as the answer is there".
 *
 * After the last one, ping waits for answers only twice the longest round trip or one interval, whichever is more
 * (iputils, `schedule_exit`; `-W` counts only until the first answer). On a busy machine a short interval would
 * therefore report answers as lost that arrived a moment later.
 *
 * `preload`: so many are sent at once, at the beginning.
 */
export async function ping(
  from: Host,
  address: string,
  options: { count?: number; intervalS?: number; size?: number; timeoutS?: number; preload?: number } = {},
): Promise<Ping> {
  const { count = 3, intervalS = 0.1, size = 56, timeoutS = 1, preload = 1 } = options;
  const argv = [
    ...['ping', '-n', '-q', '-c', String(count), '-i', String(intervalS)],
    ...['-W', String(timeoutS), '-s', String(size), '-l', String(preload)],
  ];
  const { stdout, stderr, exitCode } = await from.exec([...argv, address], { anyExit: true });
  const counts = /(\d+) packets transmitted, (\d+) received/.exec(stdout);
  if (counts === null) throw unreadable('ping', exitCode, stderr);
  const rtt = /= ([\d.]+)\/([\d.]+)\//.exec(stdout);
  return {
    sent: Number(counts[1]),
    received: Number(counts[2]),
    minUs: rtt === null ? undefined : Number(rtt[1]) * 1000,
    avgUs: rtt === null ? undefined : Number(rtt[2]) * 1000,
  };
}

export interface StreamResult {
  /** What arrived. */
  readonly bitsPerSecond: number;
  readonly retransmits: number;
  readonly cpuSecondsPerGB: number;
  /** `bbr`, `cubic`, ... */
  readonly congestion: string;
}

export interface DatagramResult {
  readonly sent: number;
  readonly delivered: number;
  readonly seconds: number;
  /** What arrived. */
  readonly packetsPerSecond: number;
  readonly bitsPerSecond: number;
  readonly lossRatio: number;
  readonly cpuSecondsPerGB: number;
}

interface IperfSum {
  readonly bytes: number;
  readonly seconds: number;
  readonly packets?: number;
  readonly retransmits?: number;
}

interface IperfReport {
  readonly error?: string;
  readonly end: {
    readonly sum_sent: IperfSum;
    readonly sum_received: IperfSum;
    readonly sender_tcp_congestion?: string;
  };
}

/** An iperf3 server; clients run against it one after the other. */
export class Iperf {
  readonly #server: Background;
  /** Of the server, as arguments of a client. */
  readonly #where: readonly string[];

  private constructor(server: Background, where: readonly string[]) {
    this.#server = server;
    this.#where = where;
  }

  /** Two servers on one address need two ports. */
  static async open(host: Host, address: string, port = 5201): Promise<Iperf> {
    const server = host.spawn(['iperf3', '-s', '--forceflush', '-B', address, '-p', String(port)]);
    await awaitCondition('iperf3 to listen', () => {
      if (!server.running) throw server.failure();
      return server.stdout.includes('Server listening');
    });
    return new Iperf(server, ['-c', address, '-p', String(port)]);
  }

  /** TCP from `sender` to the server; as fast as it goes when no rate is given. `cpu` is for both programs. */
  async tcp(
    sender: Host,
    options: {
      seconds: number;
      streams?: number;
      bitsPerSecond?: number;
      cpu?: number;
      congestion?: string;
    },
  ): Promise<StreamResult> {
    const { cpu, congestion } = options;
    const { report, cpuSeconds } = await this.#client(sender, options.seconds, [
      ...['-P', String(options.streams ?? 1), '-b', String(options.bitsPerSecond ?? 0)],
      ...(cpu === undefined ? [] : ['-A', `${cpu},${cpu}`]),
      ...(congestion === undefined ? [] : ['-C', congestion]),
    ]);
    const { sum_sent: sent, sum_received: received } = report.end;
    return {
      bitsPerSecond: (received.bytes * 8) / received.seconds,
      retransmits: sent.retransmits ?? 0,
      cpuSecondsPerGB: cpuSeconds / (received.bytes / 1e9),
      congestion: report.end.sender_tcp_congestion ?? 'unknown',
    };
  }

  /**
   * UDP, payloads of `size` bytes; as fast as the sender can when no rate is given. One sendto a packet, no GSO. Between
   * two `burst`s of packets iperf3 asks for the time; without a rate it does so every 10 packets.
   * iperf3's own count of lost packets leaves out those after the last that arrived; so what arrived is counted in bytes.
   */
  async udp(
    sender: Host,
    options: { seconds: number; size: number; packetsPerSecond?: number; burst?: number },
  ): Promise<DatagramResult> {
    const { size, packetsPerSecond = 0, burst = 1 } = options;
    const bits = String(Math.round(packetsPerSecond) * size * 8);
    const rate = packetsPerSecond === 0 ? bits : `${bits}/${burst}`;
    const { report, cpuSeconds } = await this.#client(sender, options.seconds, [
      ...['-u', '-b', rate, '-l', String(size)],
    ]);
    const { sum_sent: out, sum_received: into } = report.end;
    const [sent, delivered] = [out.packets ?? 0, into.bytes / size];
    return {
      ...{ sent, delivered, seconds: into.seconds },
      packetsPerSecond: delivered / into.seconds,
      bitsPerSecond: (into.bytes * 8) / into.seconds,
      lossRatio: sent === 0 ? 1 : (sent - delivered) / sent,
      cpuSecondsPerGB: cpuSeconds / (into.bytes / 1e9),
    };
  }

  /** TCP that goes on until the caller ends it, and may be stopped and continued by signals meanwhile. */
  endless(
    sender: Host,
    { cpu, congestion }: { readonly cpu: number; readonly congestion: string },
  ): Background {
    const options = ['-t', '86400', '-A', `${cpu},${cpu}`, '-C', congestion];
    return sender.spawn(['iperf3', ...this.#where, '--forceflush', ...options]);
  }

  async close(): Promise<void> {
    await this.#server.stop();
  }

  async #client(
    sender: Host,
    seconds: number,
    options: readonly string[],
  ): Promise<{ report: IperfReport; cpuSeconds: number }> {
    const argv = ['iperf3', ...this.#where, '-J', '-t', String(seconds), ...options];
    const before = readCpuTimes();
    const { stdout, stderr, exitCode } = await sender.exec(argv, {
      timeoutMs: seconds * 1000 + 20_000,
      anyExit: true,
    });
    const cpuSeconds = cpuTimesSince(before).busy;
    const report = parseReport(stdout);
    if (report === undefined || report.error !== undefined) {
      throw unreadable('iperf3', exitCode, report?.error ?? stderr);
    }
    return { report, cpuSeconds };
  }
}

export interface RoundTrip {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly count: number;
}

/** Request and answer of 64 bytes, one at a time, for some seconds: sockperf's ping-pong. */
export async function roundTrip(
  client: Host,
  server: Host,
  address: string,
  options: { seconds: number; protocol: 'tcp' | 'udp'; port?: number },
): Promise<RoundTrip> {
  const port = String(options.port ?? 11_111);
  const protocol = options.protocol === 'tcp' ? ['--tcp'] : [];
  const where = ['-i', address, '-p', port, ...protocol];
  const listener = server.spawn(['sockperf', 'server', ...where]);
  try {
    await awaitCondition('sockperf to listen', () => {
      if (!listener.running) throw listener.failure();
      return listener.stdout.includes('using recvfrom()');
    });
    const length = ['-t', String(options.seconds), '-m', '64', '--full-rtt'];
    const { stdout } = await client.exec(['sockperf', 'ping-pong', ...where, ...length], {
      timeoutMs: options.seconds * 1000 + 20_000,
    });
    return {
      p50Us: percentile(stdout, '50.000'),
      p99Us: percentile(stdout, '99.000'),
      count: Number(/(\d+) observations/.exec(stdout)?.[1] ?? 0),
    };
  } finally {
    // On SIGTERM it waits for one more message first.
    listener.kill('SIGKILL');
    await listener.stop();
  }
}

function percentile(report: string, which: string): number {
  const match = new RegExp(`percentile ${which.replace('.', '\\.')} =\\s+([\\d.]+)`).exec(report);
  if (match === null) throw unreadable('sockperf', 0, report);
  return Number(match[1]);
}

function parseReport(text: string): IperfReport | undefined {
  try {
    return JSON.parse(text) as IperfReport;
  } catch {
    return undefined;
  }
}

function unreadable(tool: string, exitCode: number | null, said: string): KerseyError {
  return new KerseyError(
    'COMMAND_FAILED',
    `${tool} gave no result (exit code ${exitCode ?? 'none'}): ${said.trim()}`,
  );
}
