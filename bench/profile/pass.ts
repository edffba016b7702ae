// Where the time goes: `perf record` of the whole machine during TCP, one contender after the other. A pass of its own,
// so that perf disturbs nothing that is measured.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Background, run } from '../../src/lab/command.ts';
import { Iperf } from '../../src/lab/measure.ts';
import { KerseyError } from '../../src/errors.ts';
import type { OffloadProfile } from '../../src/lab/offloads.ts';
import { missingPrograms } from '../net/installed.ts';
import type { Entry, Plan } from '../plan.ts';
import type { Joined } from '../net/contender.ts';
import { foldedStacks, foldedText, hottest, programs, type Hot } from './stacks.ts';

export interface ProfileRow {
  readonly contender: string;
  readonly profile: OffloadProfile;
  /** While perf looked. */
  readonly gbps: number;
  /** Share of the samples in which a CPU was not idle, in percent. */
  readonly busyPercent: number;
  readonly hottest: readonly Hot[];
  /** Programs and threads. */
  readonly programs: readonly Hot[];
  /** Name of the file of folded stacks, in the directory of the pass. */
  readonly file: string;
}

export type ProfilePass =
  | { readonly kind: 'missing'; readonly reason: string }
  | { readonly kind: 'profiled'; readonly directory: string; readonly rows: readonly ProfileRow[] };

const [hottestCount, programCount] = [12, 6] as const;
const hertz = 999;
/** Characters of one file before it is packed: a dozen files stay below 200 KB. */
const fileLimit = 100_000;

/** `name`: where the stacks go, below `bench/results/`. */
export async function profilePass(
  plan: Plan,
  options: {
    readonly resultsDirectory: string;
    readonly name: string;
    readonly signal: AbortSignal;
    readonly say: (text: string) => void;
  },
): Promise<ProfilePass> {
  const missing = await missingPrograms('perf');
  if (missing !== undefined)
    return { kind: 'missing', reason: `${missing} (Debian: apt-get install linux-perf)` };
  const directory = join(options.resultsDirectory, options.name);
  mkdirSync(directory, { recursive: true });
  const rows: ProfileRow[] = [];
  for (const { profile, entries } of plan.legs) {
    for (const { contender } of entries.filter(isProfiled)) {
      options.say(`profile, veth ${profile}: ${contender.name}`);
      const joined = await contender.open({ offloads: profile, signal: options.signal });
      try {
        const file = `${slug(profile)}.${slug(contender.name)}.folded.gz`;
        const { gbps, script } = await watchTcp(joined, plan.seconds.tcp1, options.signal);
        const { stacks, samples, busy } = foldedStacks(script);
        writeFileSync(join(directory, file), gzipSync(foldedText(stacks, fileLimit), { level: 9 }));
        rows.push({
          ...{ contender: contender.name, profile, gbps, file },
          busyPercent: samples === 0 ? 0 : (100 * busy) / samples,
          hottest: hottest(stacks, hottestCount),
          programs: programs(stacks, programCount),
        });
      } finally {
        await joined.close();
      }
    }
  }
  return { kind: 'profiled', directory: `bench/results/${options.name}`, rows };
}

function isProfiled({ profiled, tests }: Entry): boolean {
  return profiled === true && tests.includes('tcp1');
}

function slug(name: string): string {
  return name
    .toLowerCase()
    .replaceAll('->', 'to')
    .replaceAll(/[^a-z0-9]+/g, '-');
}

async function watchTcp(
  { lab, address }: Joined,
  seconds: number,
  signal: AbortSignal,
): Promise<{ gbps: number; script: string }> {
  const data = join(lab.directory, 'perf.data');
  const iperf = await Iperf.open(lab.host('h2'), address);
  // cpu-clock: a virtual machine often has no cycle counter. Nothing is recorded of the stream's first moments.
  const record = ['perf', 'record', '-q', '-a', '-g', '-e', 'cpu-clock', '-F', String(hertz), '-o', data];
  const perf = Background.start([...record, '-D', '500', '--', 'sleep', String(Math.max(1, seconds - 0.5))]);
  try {
    const { bitsPerSecond } = await iperf.tcp(lab.host('h1'), { seconds });
    if ((await perf.exited) !== 0) throw perf.failure();
    const argv = ['perf', 'script', '-i', data, '-F', 'comm,ip,sym'];
    const { stdout } = await run(argv, { signal, timeoutMs: 60_000 });
    if (stdout.trim() === '') throw new KerseyError('COMMAND_FAILED', 'perf recorded nothing');
    return { gbps: bitsPerSecond / 1e9, script: stdout };
  } finally {
    await perf.stop();
    await iperf.close();
    rmSync(data, { force: true });
  }
}
