// CPU time, from /proc/stat: the whole machine's, because softirq work of one host is charged to whoever runs.
//
// Counted in ticks of 10 ms, so anything under a second is noise. "Steal" is time that the hypervisor gave to others
// while this machine had work to do: what is measured meanwhile is measured on a slower machine.

import { readFileSync } from 'node:fs';

/** Seconds since the machine started, all CPUs together. */
export interface CpuTimes {
  /** user, nice, system, irq, softirq. */
  readonly busy: number;
  readonly steal: number;
}

const ticksPerSecond = 100;

export function parseCpuTimes(stat: string): CpuTimes {
  const line = stat.split('\n', 1)[0] ?? '';
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return { busy: (user + nice + system + irq + softirq) / ticksPerSecond, steal: steal / ticksPerSecond };
}

export function readCpuTimes(): CpuTimes {
  return parseCpuTimes(readFileSync('/proc/stat', 'utf8'));
}

export function cpuTimesSince(before: CpuTimes): CpuTimes {
  const now = readCpuTimes();
  return { busy: now.busy - before.busy, steal: now.steal - before.steal };
}

/** Of the CPU time that was wanted, the part in percent that the machine did not get. */
export function stealPercent({ busy, steal }: CpuTimes): number {
  return busy + steal === 0 ? 0 : (100 * steal) / (busy + steal);
}

/** User and system time of a process with all its threads, in seconds. */
export function processSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name, in parentheses, may hold anything; what follows is numbers (proc_pid_stat(5): 14 utime, 15 stime).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}
