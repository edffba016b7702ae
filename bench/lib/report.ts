// A result on the terminal, as JSON, and as the generated parts of docs/benchmarks.md.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describeLines } from './machine.ts';
import type { BenchResult } from './result.ts';
import { parts, sectionsOf, type Part, type Section } from './sections.ts';
import { markdownTable, terminalTable } from './table.ts';

export const resultsDirectory = fileURLToPath(new URL('../results/', import.meta.url));
const document = fileURLToPath(new URL('../../docs/benchmarks.md', import.meta.url));

export function terminal(result: BenchResult): string {
  const text = ['', ...describeLines(result.machine), runLine(result)];
  // The verdict is what is looked for: it comes last.
  const order = parts.toReversed();
  const sections = sectionsOf(result, (word) => `! ${word}`).toSorted(
    (a, b) => order.indexOf(a.part) - order.indexOf(b.part),
  );
  for (const { title, grid, lines } of sections) {
    text.push('', title, ...(grid === undefined ? [] : [terminalTable(grid)]), ...lines);
  }
  for (const fault of result.faults) text.push(`! FAULT: ${fault}`);
  return `${text.join('\n')}\n`;
}

function runLine({ stealPercent }: BenchResult): string {
  return `Steal over the whole run: ${stealPercent.toFixed(1)} % of the CPU time that was wanted`;
}

/** The name of this result's files in bench/results/. */
export function nameOf({ date, length }: Pick<BenchResult, 'date' | 'length'>): string {
  return `${date.replaceAll(':', '').slice(0, 15)}${length === 'full' ? '' : `-${length}`}`;
}

/** Writes bench/results/<date>.json and answers with its path. */
export function writeJson(result: BenchResult): string {
  mkdirSync(resultsDirectory, { recursive: true });
  const name = `${nameOf(result)}.json`;
  // Six digits are more than any of it is good for.
  const short = (_key: string, value: unknown): unknown =>
    typeof value === 'number' ? Number(value.toPrecision(6)) : value;
  writeFileSync(`${resultsDirectory}${name}`, `${JSON.stringify(result, short, 1)}\n`);
  return `bench/results/${name}`;
}

/** Replaces the generated parts of docs/benchmarks.md that this result has; answers with its path. */
export function writeDocument(result: BenchResult): string {
  let text = readFileSync(document, 'utf8');
  const sections = sectionsOf(result, (word) => `**${word}**`);
  for (const part of parts) {
    const own = sections.filter((section) => section.part === part);
    if (own.length > 0) text = replacePart(text, part, markdownOf(result, part, own));
  }
  writeFileSync(document, text);
  return 'docs/benchmarks.md';
}

/** The text with the content between the part's markers; throws when it has no such markers. */
export function replacePart(text: string, part: string, content: string): string {
  const [begin, end] = [`<!-- ${part}: begin -->`, `<!-- ${part}: end -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/benchmarks.md has no '${begin}' ... '${end}'`);
  return `${text.slice(0, from + begin.length)}\n\n${content}\n\n${text.slice(to)}`;
}

function markdownOf(result: BenchResult, part: Part, sections: readonly Section[]): string {
  const head = headOf(result, part);
  const blocks = [head.map((line) => `- ${line}`).join('\n')];
  if (part === 'network' && result.net !== undefined) blocks.push(lengths(result.net));
  for (const { title, grid, lines } of sections) {
    if (sections.length > 1) blocks.push(`### ${title}`);
    if (grid !== undefined) blocks.push(markdownTable(grid));
    if (lines.length > 0) blocks.push(lines.map((line) => `- ${line}`).join('\n'));
  }
  return blocks.join('\n\n');
}

/** The machine is described where readers begin to wonder, not five times. */
function headOf(result: BenchResult, part: Part): readonly string[] {
  const { date, machine } = result;
  const when = `Measured ${date.slice(0, 10)}`;
  if (part === 'network' || part === 'micro')
    return [`${when}.`, ...describeLines(machine), `${runLine(result)}.`];
  return [`${when}, commit ${machine.commit}, Linux ${machine.kernel}, ${machine.cpus} x ${machine.cpu}.`];
}

function lengths({ rounds, seconds }: NonNullable<BenchResult['net']>): string {
  const counts = Object.entries(rounds).map(([profile, count]) => `${profile} ${count}`);
  const tests = Object.entries(seconds).map(([test, length]) => `${test} ${length} s`);
  return `Interleaved rounds: ${counts.join(', ')}; ${tests.join(', ')}.`;
}
