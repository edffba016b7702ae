// `perf script` text becomes folded stacks (`program;outermost;...;innermost count`, what flame graph tools read) and
// a list of the functions in which the time was spent.

export interface Stack {
  /** The program's name, then functions from the outermost to the innermost. */
  readonly frames: readonly string[];
  readonly count: number;
}

export interface Hot {
  readonly symbol: string;
  /** Of the samples in which a CPU was busy, in percent. */
  readonly percent: number;
}

// The functions in which an idle CPU waits, on x86 and ARM, bare and as a guest.
const idle =
  /^(pv_native_safe_halt|native_safe_halt|default_idle|intel_idle|mwait_idle|acpi_(safe_halt|idle)|cpu_idle_poll|cpu_do_idle|poll_idle)/;

/** Samples in which a CPU was busy, equal ones added up. Takes the output of `perf script -F comm,ip,sym`. */
export function foldedStacks(script: string): { stacks: readonly Stack[]; samples: number; busy: number } {
  const counts = new Map<string, number>();
  let [samples, busy] = [0, 0];
  for (const block of script.split(/\n\s*\n/)) {
    const [head, ...lines] = block.split('\n').filter((line) => line.trim() !== '');
    if (head === undefined) continue;
    samples++;
    const frames = lines.map(symbolOf);
    if (frames.slice(0, 3).some((frame) => idle.test(frame))) continue;
    busy++;
    const key = [head.trim().replaceAll(/[; ]/g, '_'), ...frames.toReversed()].join(';');
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const stacks = [...counts].map(([key, count]) => ({ frames: key.split(';'), count }));
  return { stacks: stacks.toSorted((a, b) => b.count - a.count), samples, busy };
}

/** `  ffffffff81234567 tcp_sendmsg+0x12` -> `tcp_sendmsg`. */
function symbolOf(line: string): string {
  const symbol = /^\s*[\da-f]+\s+(.*?)(\+0x[\da-f]+)?\s*$/.exec(line)?.[1] ?? '[unknown]';
  return symbol.replaceAll(/[; ]/g, '_');
}

/** The innermost functions by their share. */
export function hottest(stacks: readonly Stack[], count: number): readonly Hot[] {
  return shares(stacks, count, (frames) => frames.at(-1));
}

/** Programs and threads by their share. */
export function programs(stacks: readonly Stack[], count: number): readonly Hot[] {
  return shares(stacks, count, ([program]) => program);
}

function shares(
  stacks: readonly Stack[],
  count: number,
  nameOf: (frames: readonly string[]) => string | undefined,
): readonly Hot[] {
  const totals = new Map<string, number>();
  let all = 0;
  for (const { frames, count: samples } of stacks) {
    const name = nameOf(frames) ?? '';
    totals.set(name, (totals.get(name) ?? 0) + samples);
    all += samples;
  }
  return [...totals]
    .map(([symbol, samples]) => ({ symbol, percent: (100 * samples) / all }))
    .toSorted((a, b) => b.percent - a.percent)
    .slice(0, count);
}

/** Text of flame graph tools, the rarest stacks left out when it gets longer than `limit` characters. */
export function foldedText(stacks: readonly Stack[], limit: number): string {
  let text = '';
  for (const { frames, count } of stacks) {
    const line = `${frames.join(';')} ${count}\n`;
    if (text.length + line.length > limit) break;
    text += line;
  }
  return text;
}
