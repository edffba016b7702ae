// What runs: which contenders take which tests with which offloads, how often and how long. A full run has to stay
// below 26 minutes, one for the targets below 14 and a quick one below 3, so not everything runs everywhere.
//
// The contenders that targets compare take part in every round. Other tunnels differ from them by factors, so one
// round says enough of them.

import type { OffloadProfile } from '../src/lab/offloads.ts';
import type { Contender, TestName } from './net/contender.ts';
import { nebula } from './net/nebula.ts';
import { openVSwitch } from './net/openvswitch.ts';
import {
  bareVeth,
  engine,
  engineReno,
  engineThreads,
  engineToKernel,
  kernelToEngine,
  kernelVxlan,
  kernelVxlanReno,
  onePacket,
} from './net/plain.ts';
import { wireguardGo } from './net/wireguard-go.ts';
import type { ControlLengths } from './control/control.ts';
import type { RepairLengths } from './repair/repair.ts';
import type { ScaleLengths } from './scale/scale.ts';

export interface Entry {
  readonly contender: Contender;
  readonly tests: readonly TestName[];
  /** It takes part in the first so many rounds; in all when not given. */
  readonly rounds?: number;
  /** Whether the profile pass looks at its TCP. */
  readonly profiled?: boolean;
}

/** One offload profile's part of the run. */
export interface Leg {
  readonly profile: OffloadProfile;
  readonly rounds: number;
  /** Tests that take part in the first so many rounds only: what they show needs no more. */
  readonly fewer?: Readonly<Partial<Record<TestName, number>>>;
  readonly entries: readonly Entry[];
}

/** The tests of an entry that a round has. */
export function testsIn(leg: Leg, round: number, { tests, rounds = leg.rounds }: Entry): readonly TestName[] {
  return round < rounds ? tests.filter((test) => round < (leg.fewer?.[test] ?? leg.rounds)) : [];
}

export interface Plan {
  readonly legs: readonly Leg[];
  readonly seconds: Readonly<Record<TestName, number>>;
  /** So often a test is run at most, to find a time in which little was stolen. */
  readonly attempts: number;
  /** All repeats together may take so long. */
  readonly repeatSeconds: number;
  readonly scale: ScaleLengths;
  readonly control: ControlLengths;
  readonly repair: RepairLengths;
}

const all: readonly TestName[] = ['tcp1', 'tcp8', 'udp64', 'udp1400', 'roundTrip'];
const tcp: readonly TestName[] = ['tcp1'];
const others = [openVSwitch, wireguardGo, nebula];

function legOf(
  profile: OffloadProfile,
  rounds: number,
  tests: {
    readonly main: readonly TestName[];
    readonly mixed: readonly TestName[];
    readonly reno?: readonly TestName[];
    readonly threads?: readonly TestName[];
    readonly single: readonly TestName[];
    readonly others: readonly TestName[];
  },
): Leg {
  const entries: readonly Entry[] = [
    { contender: bareVeth, tests: tests.main },
    { contender: kernelVxlan, tests: tests.main, profiled: true },
    { contender: engine, tests: tests.main, profiled: true },
    { contender: engineToKernel, tests: tests.mixed, profiled: true },
    { contender: kernelToEngine, tests: tests.mixed, profiled: true },
    { contender: engineThreads, tests: tests.threads ?? [], rounds: 3 },
    { contender: kernelVxlanReno, tests: tests.reno ?? [], rounds: 3 },
    { contender: engineReno, tests: tests.reno ?? [], rounds: 3, profiled: true },
    { contender: onePacket, tests: tests.single, rounds: 5, profiled: true },
    ...others.map((contender) => ({ contender, tests: tests.others, rounds: 1 })),
  ];
  return { profile, rounds, entries: entries.filter((entry) => entry.tests.length > 0) };
}

export const fullPlan: Plan = {
  legs: [
    legOf('as is', 5, {
      main: all,
      mixed: tcp,
      ...{ reno: tcp, threads: tcp },
      single: ['tcp1', 'udp64'],
      others: ['tcp1', 'udp64', 'roundTrip'],
    }),
    {
      ...legOf('plain NIC', 5, { main: all, mixed: tcp, single: tcp, others: tcp }),
      fewer: { tcp8: 3, udp64: 3, udp1400: 3, roundTrip: 3 },
    },
    legOf('all off', 3, { main: ['tcp1', 'udp64'], mixed: tcp, single: [], others: [] }),
  ],
  seconds: { tcp1: 4, tcp8: 2, udp64: 6, udp1400: 2, roundTrip: 2 },
  ...{ attempts: 3, repeatSeconds: 20 },
  scale: { peersSeconds: 60, replaceSeconds: 8, settleSeconds: 40, idleSeconds: 40 },
  control: { rounds: 5, singles: 200, outageSeconds: 30 },
  repair: { breakages: 1000, seed: 20_261_123 },
};

export const quickPlan: Plan = {
  legs: [
    legOf('as is', 1, {
      main: ['tcp1', 'udp64', 'roundTrip'],
      mixed: tcp,
      reno: tcp,
      single: tcp,
      others: [],
    }),
    legOf('plain NIC', 1, { main: tcp, mixed: tcp, single: [], others: [] }),
    legOf('all off', 1, { main: tcp, mixed: [], single: [], others: [] }),
  ],
  seconds: { tcp1: 2, tcp8: 1, udp64: 3, udp1400: 1, roundTrip: 1 },
  ...{ attempts: 2, repeatSeconds: 12 },
  scale: { peersSeconds: 3, replaceSeconds: 4, settleSeconds: 5, idleSeconds: 10 },
  control: { rounds: 2, singles: 50, outageSeconds: 10 },
  repair: { breakages: 100, seed: 20_261_123 },
};

/**
 * What the targets compare, more often than in a full run where one compares little with much. Two tests of a TCP stream
 * in fresh hosts differ by a quarter, whether they take 2 s or 4; so there are many short ones.
 */
export const targetsPlan: Plan = {
  legs: [
    {
      ...legOf('as is', 11, {
        main: ['tcp1', 'udp64', 'roundTrip'],
        mixed: tcp,
        reno: tcp,
        single: tcp,
        others: [],
      }),
      fewer: { udp64: 5, roundTrip: 5 },
    },
    legOf('plain NIC', 6, { main: tcp, mixed: tcp, single: [], others: [] }),
    legOf('all off', 5, { main: tcp, mixed: [], single: [], others: [] }),
  ].map(withoutBare),
  seconds: { tcp1: 2, tcp8: 2, udp64: 6, udp1400: 2, roundTrip: 2 },
  ...{ attempts: 3, repeatSeconds: 35 },
  scale: fullPlan.scale,
  control: fullPlan.control,
  repair: fullPlan.repair,
};

export const plans = { full: fullPlan, targets: targetsPlan, quick: quickPlan } as const;

function withoutBare(leg: Leg): Leg {
  return { ...leg, entries: leg.entries.filter(({ contender }) => contender !== bareVeth) };
}

/** The plan with these contenders alone. */
export function restricted(plan: Plan, wanted: (contender: string) => boolean): Plan {
  const legs = plan.legs.map((leg) => ({
    ...leg,
    entries: leg.entries.filter(({ contender }) => wanted(contender.name)),
  }));
  return { ...plan, legs };
}

export function withoutTest(plan: Plan, test: TestName): Plan {
  const entries = (leg: Leg): readonly Entry[] =>
    leg.entries
      .map((entry) => ({ ...entry, tests: entry.tests.filter((name) => name !== test) }))
      .filter((entry) => entry.tests.length > 0);
  return { ...plan, legs: plan.legs.map((leg) => ({ ...leg, entries: entries(leg) })) };
}

export function contendersOf(plan: Plan): readonly Contender[] {
  return [...new Set(plan.legs.flatMap((leg) => leg.entries.map(({ contender }) => contender)))];
}

// Measured: hosts and daemons come up, 68 MB are compared, all goes away; a tool starts and ends; perf's data is
// read; tables of 65,536 peers are replaced.
const [turnOverhead, testOverhead, profileOverhead, peersOverhead] = [2.5, 0.8, 2, 5] as const;

/** About how long the rounds, all possible repeats, the scale benches and the profile pass take. */
export function estimateSeconds(plan: Plan, profiled: boolean): number {
  const turns = plan.legs.flatMap((leg) =>
    Array.from({ length: leg.rounds }, (_, round) =>
      leg.entries.map((entry) => {
        const tests = testsIn(leg, round, entry);
        const own = tests.length === 0 ? 0 : turnOverhead;
        return tests.reduce((sum, test) => sum + plan.seconds[test] + testOverhead, own);
      }),
    ).flat(),
  );
  const profiles = plan.legs.flatMap(({ entries }) => entries.filter((entry) => entry.profiled === true));
  const pass = profiled ? profiles.length * (turnOverhead + plan.seconds.tcp1 + profileOverhead) : 0;
  const { peersSeconds, replaceSeconds, settleSeconds, idleSeconds } = plan.scale;
  const peers = 2 * (2 * turnOverhead + peersOverhead) + (peersSeconds * 4) / 3;
  const replace = turnOverhead + 2 * (replaceSeconds + testOverhead);
  const scale = peers + replace + turnOverhead + idleSeconds + settleSeconds;
  return turns.reduce((sum, length) => sum + length, pass + scale + plan.repeatSeconds);
}
