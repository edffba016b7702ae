// Everything one run of the bench found; written as it is to bench/results/.

import type { Length } from './arguments.ts';
import type { RoundResult } from '../net/rounds.ts';
import type { Control } from '../control/control.ts';
import type { ProfilePass } from '../profile/pass.ts';
import type { Repair } from '../repair/repair.ts';
import type { Scale } from '../scale/scale.ts';
import type { Machine } from './machine.ts';
import type { MicroResult } from './suite.ts';
import type { Judgement } from './verdict.ts';

export interface BenchResult {
  readonly date: string;
  readonly length: Length;
  readonly machine: Machine;
  /** Of the CPU time that the machine wanted during the run, what the hypervisor gave to others, in percent. */
  readonly stealPercent: number;
  readonly micro?: readonly MicroResult[];
  readonly net?: NetResult;
  readonly scale?: Scale;
  readonly control?: Control;
  readonly repair?: Repair;
  readonly profile?: ProfilePass;
  /** Of every run that has network results. */
  readonly targets?: readonly Judgement[];
  readonly controlTargets?: readonly Judgement[];
  readonly repairTargets?: readonly Judgement[];
  /** What makes the run worthless: corrupted payload, losses without a counter, contenders that did not run. */
  readonly faults: readonly string[];
}

export interface NetResult {
  /** By offload profile. */
  readonly rounds: Readonly<Record<string, number>>;
  readonly seconds: Readonly<Record<string, number>>;
  /** Contenders and tests that could not run, and why. */
  readonly missing: Readonly<Record<string, string>>;
  readonly results: readonly RoundResult[];
}
