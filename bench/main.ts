// npm run bench [-- [--quick] [--only CONTENDER]... [micro] [net]]
//
// micro: the inner loops of dataplane and control plane, one at a time. net: hosts as network namespaces, real
// traffic through bare veth, kernel vxlan, Kersey, Kersey held to one packet a syscall, and what other userspace
// tunnels are installed. Results: a table here, bench/results/<date>.json, and docs/benchmarks.md (not with --quick).

import { parseArgs } from 'node:util';
import { withSignals } from '../src/cli/interrupt.ts';
import { KerseyError } from '../src/errors.ts';
import { describeMachine } from './lib/machine.ts';
import { terminal, writeDocument, writeJson, type BenchResult, type NetResult } from './lib/report.ts';
import { runSuite, type MicroResult } from './lib/suite.ts';
import { controlCases } from './micro/control.ts';
import { dataplaneCases } from './micro/dataplane.ts';
import type { Contender, TestName } from './net/contender.ts';
import { nebula } from './net/nebula.ts';
import { openVSwitch } from './net/openvswitch.ts';
import { bareVeth, engine, engineToKernel, kernelToEngine, kernelVxlan, onePacket } from './net/plain.ts';
import { missingPrograms } from './net/installed.ts';
import { allTests, runRounds } from './net/rounds.ts';
import { wireguardGo } from './net/wireguard-go.ts';

const contenders: readonly Contender[] = [
  ...[bareVeth, kernelVxlan, engine, engineToKernel, kernelToEngine, onePacket],
  ...[openVSwitch, wireguardGo, nebula],
];

const fullSeconds: Readonly<Record<TestName, number>> = {
  tcp1: 4,
  tcp8: 3,
  udp64: 3,
  udp1400: 3,
  roundTrip: 3,
};
const quickSeconds: Readonly<Record<TestName, number>> = {
  tcp1: 2,
  tcp8: 2,
  udp64: 2,
  udp1400: 2,
  roundTrip: 2,
};

const parts = ['micro', 'net'] as const;
type Part = (typeof parts)[number];

interface Arguments {
  readonly quick: boolean;
  readonly parts: readonly Part[];
  /** Contenders to run; all when empty. */
  readonly only: readonly string[];
}

function argumentsOf(argv: readonly string[]): Arguments {
  const { values, positionals } = parse(argv);
  const asked = parts.filter((part) => positionals.includes(part));
  refuseUnknown('part', positionals, parts);
  refuseUnknown(
    'contender',
    values.only,
    contenders.map((contender) => contender.name),
  );
  return { quick: values.quick, parts: asked.length === 0 ? parts : asked, only: values.only };
}

function parse(argv: readonly string[]): {
  values: { quick: boolean; only: string[] };
  positionals: string[];
} {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        quick: { type: 'boolean', default: false },
        only: { type: 'string', multiple: true, default: [] },
      },
    });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new KerseyError('USAGE', message, {
      remedy: 'use [--quick] [--only CONTENDER]... [micro] [net]',
      cause,
    });
  }
}

function refuseUnknown(kind: string, words: readonly string[], known: readonly string[]): void {
  const unknown = words.find((word) => !known.includes(word));
  if (unknown === undefined) return;
  throw new KerseyError('USAGE', `unknown ${kind} '${unknown}'`, {
    remedy: `use one of: ${known.join(', ')}`,
  });
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function micro(quick: boolean, signal: AbortSignal): Promise<readonly MicroResult[]> {
  const cases = [...dataplaneCases(), ...controlCases()];
  return runSuite(cases, { maxSeconds: quick ? 0.3 : 2, signal }, ({ name, nanoseconds }) => {
    say(`  ${name}: ${nanoseconds.toFixed(1)} ns`);
  });
}

async function net({ quick, only }: Arguments, signal: AbortSignal): Promise<NetResult> {
  const missing: Record<string, string> = {};
  const here: Contender[] = [];
  for (const contender of contenders) {
    if (only.length > 0 && !only.includes(contender.name)) continue;
    const reason = await contender.unavailable();
    if (reason === undefined) here.push(contender);
    else missing[contender.name] = reason;
  }
  const noSockperf = await missingPrograms('sockperf');
  if (noSockperf !== undefined) missing['round trip'] = `${noSockperf} (Debian: apt-get install sockperf)`;
  const rounds = quick ? 1 : 3;
  const seconds = quick ? quickSeconds : fullSeconds;
  const results = await runRounds({
    ...{ contenders: here, profiles: ['as is', 'plain NIC'], rounds, seconds, signal },
    tests: allTests.filter((test) => test !== 'roundTrip' || noSockperf === undefined),
    onTurn: (contender, profile, round) => {
      say(`veth ${profile}, round ${round + 1} of ${rounds}: ${contender}`);
    },
    onResult: ({ sample }) => {
      say(
        `  ${Object.entries(sample)
          .map(([key, value]) => `${key} ${value.toFixed(2)}`)
          .join('  ')}`,
      );
    },
  });
  return { rounds, seconds, missing, results };
}

async function main(): Promise<void> {
  const asked = argumentsOf(process.argv.slice(2));
  const machine = await describeMachine();
  if (machine.load > machine.cpus / 2)
    say(`! the machine is busy (load ${machine.load.toFixed(1)}): do not trust the numbers`);
  const result = await withSignals(async (signal): Promise<BenchResult> => ({
    ...{ date: new Date().toISOString(), quick: asked.quick, machine },
    ...(asked.parts.includes('micro') ? { micro: await micro(asked.quick, signal) } : {}),
    ...(asked.parts.includes('net') ? { net: await net(asked, signal) } : {}),
  }));
  process.stdout.write(terminal(result));
  const written = [
    writeJson(result),
    ...(asked.quick || asked.only.length > 0 ? [] : [writeDocument(result)]),
  ];
  say(`written: ${written.join(', ')}`);
}

try {
  await main();
} catch (error) {
  const { code, message, remedy } = KerseyError.from(error);
  say(`bench: ${code}: ${message}${remedy === '' ? '' : `; ${remedy}`}`);
  process.exitCode = code === 'USAGE' ? 2 : 1;
}
