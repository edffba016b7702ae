// A result as a table on the terminal, as JSON, and as the generated part of docs/benchmarks.md.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import Table from 'cli-table3';
import type { OffloadProfile } from '../../src/lab/offloads.ts';
import { cellOf, metrics, ratioOf, reference, rowsOf, type Row } from '../net/metrics.ts';
import type { RoundResult } from '../net/rounds.ts';
import { describeLines, type Machine } from './machine.ts';
import type { MicroResult } from './suite.ts';

export interface BenchResult {
  readonly date: string;
  readonly quick: boolean;
  readonly machine: Machine;
  readonly micro?: readonly MicroResult[];
  readonly net?: NetResult;
}

export interface NetResult {
  readonly rounds: number;
  readonly seconds: Readonly<Record<string, number>>;
  /** Contenders that could not run, and why. */
  readonly missing: Readonly<Record<string, string>>;
  readonly results: readonly RoundResult[];
}

interface Grid {
  /** A second line of a heading is its unit. */
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

const resultsDirectory = fileURLToPath(new URL('../results/', import.meta.url));
const document = fileURLToPath(new URL('../../docs/benchmarks.md', import.meta.url));

function netGrid(rows: readonly Row[]): Grid {
  return {
    head: ['', `ratio to\n${reference}`, ...metrics.map(({ title }) => title.join('\n'))],
    rows: rows.map((row) => [row.contender, ratioOf(row), ...metrics.map((metric) => cellOf(row, metric))]),
  };
}

function microGrid(results: readonly MicroResult[]): Grid {
  return {
    head: ['', 'per operation', '+-', 'throughput'],
    rows: results.map((result) => [
      result.name,
      duration(result.nanoseconds),
      `${result.marginPercent.toFixed(1)} %`,
      result.bytes === 0 ? '' : `${((result.bytes * 8) / result.nanoseconds).toFixed(1)} Gbit/s`,
    ]),
  };
}

function duration(nanoseconds: number): string {
  if (nanoseconds < 1000) return `${nanoseconds.toFixed(1)} ns`;
  if (nanoseconds < 1e6) return `${(nanoseconds / 1000).toFixed(2)} us`;
  return `${(nanoseconds / 1e6).toFixed(2)} ms`;
}

export function terminal(result: BenchResult): string {
  const parts = ['', ...describeLines(result.machine)];
  if (result.micro !== undefined) parts.push('', 'Micro benchmarks', tableOf(microGrid(result.micro)));
  for (const [profile, rows] of profilesOf(result.net)) {
    parts.push('', `Network, veth ${profile}`, tableOf(netGrid(rows)), ...dropLines(rows));
  }
  for (const [name, reason] of Object.entries(result.net?.missing ?? {}))
    parts.push(`left out: ${name} (${reason})`);
  return `${parts.join('\n')}\n`;
}

function tableOf({ head, rows }: Grid): string {
  const table = new Table({
    head: [...head],
    style: { head: [], border: [], compact: true },
    colAligns: head.map((_, index) => (index === 0 ? 'left' : 'right')),
  });
  table.push(...rows.map((row) => [...row]));
  return table.toString();
}

function profilesOf(net: NetResult | undefined): readonly (readonly [OffloadProfile, readonly Row[]])[] {
  const profiles = [...new Set((net?.results ?? []).map((result) => result.profile))];
  return profiles.map((profile) => [profile, rowsOf(net?.results ?? [], profile)] as const);
}

function dropLines(rows: readonly Row[]): readonly string[] {
  return rows.flatMap(({ contender, drops }) => {
    const seen = Object.entries(drops).filter(([, count]) => count > 0);
    if (seen.length === 0) return [];
    return [`${contender} dropped: ${seen.map(([reason, count]) => `${reason} ${count}`).join(', ')}`];
  });
}

/** Writes bench/results/<date>.json and answers with its path. */
export function writeJson(result: BenchResult): string {
  mkdirSync(resultsDirectory, { recursive: true });
  const name = `${result.date.replaceAll(':', '').slice(0, 15)}${result.quick ? '-quick' : ''}.json`;
  writeFileSync(`${resultsDirectory}${name}`, `${JSON.stringify(result, null, 2)}\n`);
  return `bench/results/${name}`;
}

/** Replaces the generated parts of docs/benchmarks.md that this result has; answers with its path. */
export function writeDocument(result: BenchResult): string {
  let text = readFileSync(document, 'utf8');
  if (result.net !== undefined) text = replacePart(text, 'network', networkMarkdown(result, result.net));
  if (result.micro !== undefined) text = replacePart(text, 'micro', microMarkdown(result, result.micro));
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

function networkMarkdown(result: BenchResult, net: NetResult): string {
  const seconds = Object.entries(net.seconds).map(([test, length]) => `${test} ${length} s`);
  const parts = [...headOf(result), '', `${net.rounds} interleaved rounds; ${seconds.join(', ')}.`];
  for (const [profile, rows] of profilesOf(net)) {
    parts.push('', `### veth ${profile}`, '', markdownTable(netGrid(rows)));
    const drops = dropLines(rows);
    if (drops.length > 0) parts.push('', ...drops.map((line) => `- ${line}`));
  }
  const missing = Object.entries(net.missing).map(([name, reason]) => `${name} (${reason})`);
  if (missing.length > 0) parts.push('', `Left out: ${missing.join(', ')}.`);
  return parts.join('\n');
}

function microMarkdown(result: BenchResult, micro: readonly MicroResult[]): string {
  return [...headOf(result), '', markdownTable(microGrid(micro))].join('\n');
}

function headOf(result: BenchResult): readonly string[] {
  return [`Measured ${result.date.slice(0, 10)}.`, ...describeLines(result.machine)].map(
    (line) => `- ${line}`,
  );
}

function markdownTable({ head, rows }: Grid): string {
  const rule = head.map((_, index) => (index === 0 ? '---' : '---:'));
  return [head.map((title) => title.replace('\n', ' ')), rule, ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}
