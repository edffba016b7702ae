// What a result cannot be read without: the machine, the kernel, and the versions of everything that took part.

import { readFileSync } from 'node:fs';
import { arch, cpus, loadavg, release, totalmem } from 'node:os';
import { run } from '../../src/lab/command.ts';

export interface Machine {
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryGB: number;
  readonly arch: string;
  readonly kernel: string;
  readonly node: string;
  readonly kersey: string;
  readonly commit: string;
  readonly congestionControl: string;
  /** Load average of the minute before: anything but about 0 spoils the numbers. */
  readonly load: number;
  readonly tools: Readonly<Record<string, string>>;
}

export async function describeMachine(): Promise<Machine> {
  const [first] = cpus();
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return {
    cpu: first?.model.trim() ?? 'unknown',
    cpus: cpus().length,
    memoryGB: Math.round(totalmem() / 2 ** 30),
    arch: arch(),
    kernel: release(),
    node: process.version,
    kersey: manifest.version,
    commit: await firstLine(['git', 'describe', '--always', '--dirty']),
    congestionControl: readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim(),
    load: loadavg()[0] ?? 0,
    tools: {
      iperf3: await firstLine(['iperf3', '--version']),
      sockperf: await firstLine(['sockperf', '--version']),
      iproute2: await firstLine(['ip', '-V']),
    },
  };
}

async function firstLine(argv: readonly string[]): Promise<string> {
  try {
    const { stdout, stderr } = await run(argv, { anyExit: true });
    return `${stdout}\n${stderr}`.trim().split('\n', 1)[0] ?? '';
  } catch {
    return 'not installed';
  }
}

export function describeLines(machine: Machine): readonly string[] {
  const { cpu, cpus: count, memoryGB, arch: architecture, kernel, node, kersey, commit, tools } = machine;
  return [
    `Machine: ${count} x ${cpu} (${architecture}), ${memoryGB} GB; Linux ${kernel}; Node ${node}`,
    `Kersey ${kersey} (${commit}); TCP congestion control: ${machine.congestionControl}; load before: ${machine.load.toFixed(2)}`,
    `Tools: ${Object.values(tools).join('; ')}`,
  ];
}
