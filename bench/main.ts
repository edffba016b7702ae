// npm run bench [-- [--quick | --targets] [--profile] [--only CONTENDER]... [micro] [net] [scale] [control] [repair]]
//
// micro: the inner loops of dataplane and control plane, one at a time. net: hosts as network namespaces, real
// traffic through bare veth, kernel vxlan, Kersey, Kersey held to one packet a syscall, and what other userspace
// tunnels are installed. scale: many peers, and none of them doing anything. control: leases in a real etcd, and the
// daemon while it is away; repair: what others break on a host, and how long until it is right; these two only when
// they are named. Results: tables here, the last of them the targets and whether they are met; bench/results/<date>.json; docs/benchmarks.md (whole runs only).
//
// A slow result is a result: the exit code is 1 only when numbers mean nothing, by corrupted payload or by losses that
// no counter explains, or when a contender of ours did not run.

import { withSignals } from '../src/cli/interrupt.ts';
import { KerseyError } from '../src/errors.ts';
import { cpuTimesSince, readCpuTimes, stealPercent } from '../src/lab/cpu.ts';
import { runControl } from './control/control.ts';
import { argumentsOf, type Arguments, type Length } from './lib/arguments.ts';
import { describeMachine } from './lib/machine.ts';
import { nameOf, resultsDirectory, terminal, writeDocument, writeJson } from './lib/report.ts';
import type { BenchResult, NetResult } from './lib/result.ts';
import { runSuite, type MicroResult } from './lib/suite.ts';
import { judge } from './lib/verdict.ts';
import { controlCases } from './micro/control.ts';
import { dataplaneCases } from './micro/dataplane.ts';
import { missingPrograms } from './net/installed.ts';
import { runRounds, type RoundResult } from './net/rounds.ts';
import {
  contendersOf,
  estimateSeconds,
  fullPlan,
  plans,
  restricted,
  withoutTest,
  type Plan,
} from './plan.ts';
import { profilePass, type ProfilePass } from './profile/pass.ts';
import { runRepair } from './repair/repair.ts';
import { runScale } from './scale/scale.ts';
import { controlTargets, repairTargets, targets } from './targets.ts';

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function micro(length: Length, signal: AbortSignal): Promise<readonly MicroResult[]> {
  const cases = [...dataplaneCases(), ...controlCases()];
  return runSuite(cases, { maxSeconds: length === 'full' ? 2 : 0.3, signal }, ({ name, nanoseconds }) => {
    say(`  ${name}: ${nanoseconds.toFixed(1)} ns`);
  });
}

/** The plan without what cannot run here, and why it cannot. */
async function possible({
  length,
  only,
}: Arguments): Promise<{ plan: Plan; missing: Readonly<Record<string, string>> }> {
  const wanted = restricted(plans[length], (name) => only.length === 0 || only.includes(name));
  const missing: Record<string, string> = {};
  for (const contender of contendersOf(wanted)) {
    const reason = await contender.unavailable();
    if (reason !== undefined) missing[contender.name] = reason;
  }
  const plan = restricted(wanted, (name) => !(name in missing));
  const noSockperf = await missingPrograms('sockperf');
  if (noSockperf === undefined) return { plan, missing };
  missing['round trip'] = `${noSockperf} (Debian: apt-get install sockperf)`;
  return { plan: withoutTest(plan, 'roundTrip'), missing };
}

async function net(
  plan: Plan,
  missing: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<{ net: NetResult; faults: readonly string[] }> {
  const { results, faults, failed } = await runRounds({
    ...{ plan, signal },
    onTurn: (contender, { profile, rounds }, round) => {
      say(`veth ${profile}, round ${round + 1} of ${rounds}: ${contender}`);
    },
    onResult: (result) => {
      say(progress(result));
    },
  });
  const rounds = Object.fromEntries(plan.legs.map((leg) => [leg.profile, leg.rounds]));
  const { seconds } = plan;
  return { net: { rounds, seconds, missing: { ...missing, ...failed }, results }, faults };
}

function progress({ sample }: RoundResult): string {
  return `  ${Object.entries(sample)
    .map(([key, value]) => `${key} ${value.toFixed(2)}`)
    .join('  ')}`;
}

/** A profile that fails does not take the results with it. */
async function profiled(plan: Plan, name: string, signal: AbortSignal): Promise<ProfilePass> {
  try {
    return await profilePass(plan, { resultsDirectory, name, signal, say });
  } catch (error) {
    signal.throwIfAborted();
    return { kind: 'missing', reason: KerseyError.from(error).message };
  }
}

async function bench(asked: Arguments, signal: AbortSignal): Promise<BenchResult> {
  const [date, before, machine] = [new Date().toISOString(), readCpuTimes(), await describeMachine()];
  if (machine.load > machine.cpus / 2)
    say(`! the machine is busy (load ${machine.load.toFixed(1)}): do not trust the numbers`);
  const { plan, missing } = await possible(asked);
  const wants = (part: (typeof asked.parts)[number]): boolean => asked.parts.includes(part);
  if (wants('net'))
    say(`the network benches take at most ${Math.ceil(estimateSeconds(plan, asked.profile) / 60)} minutes`);
  const micros = wants('micro') ? { micro: await micro(asked.length, signal) } : {};
  const network = wants('net') ? await net(plan, missing, signal) : undefined;
  const scale = wants('scale') ? await runScale({ ...plan.scale, signal, say }) : undefined;
  const control = wants('control') ? await runControl({ ...plan.control, signal, say }) : undefined;
  const repair = wants('repair') ? await runRepair({ ...plan.repair, signal, say }) : undefined;
  const name = `${nameOf({ date, length: asked.length })}-profile`;
  const profile = asked.profile ? { profile: await profiled(plan, name, signal) } : {};
  return {
    ...{ date, length: asked.length, machine, stealPercent: stealPercent(cpuTimesSince(before)) },
    ...{ ...micros, ...profile },
    ...(scale === undefined ? {} : { scale }),
    ...(control === undefined ? {} : { control, controlTargets: judge(controlTargets, [], control.numbers) }),
    ...(repair === undefined ? {} : { repair, repairTargets: judge(repairTargets, [], repair.numbers) }),
    ...(network === undefined
      ? {}
      : { net: network.net, targets: judge(targets, network.net.results, scale?.numbers ?? {}) }),
    faults: [
      ...(network?.faults ?? []),
      ...(scale?.faults ?? []),
      ...(control?.faults ?? []),
      ...(repair?.faults ?? []),
    ],
  };
}

async function main(): Promise<void> {
  const names = contendersOf(fullPlan).map((contender) => contender.name);
  const asked = argumentsOf(process.argv.slice(2), names);
  const result = await withSignals((signal) => bench(asked, signal));
  process.stdout.write(terminal(result));
  const whole = asked.length === 'full' && asked.only.length === 0 && result.faults.length === 0;
  const written = [writeJson(result), ...(whole ? [writeDocument(result)] : [])];
  say(`written: ${written.join(', ')}`);
  if (result.faults.length > 0) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  const { code, message, remedy } = KerseyError.from(error);
  say(`bench: ${code}: ${message}${remedy === '' ? '' : `; ${remedy}`}`);
  process.exitCode = code === 'USAGE' ? 2 : 1;
}
