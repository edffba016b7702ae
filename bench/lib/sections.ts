// A result as sections, each with a table and lines of text: what both the terminal and docs/benchmarks.md show.

import type { LossAccount } from '../../src/lab/losses.ts';
import type { OffloadProfile } from '../../src/lab/offloads.ts';
import type { Control } from '../control/control.ts';
import type { Footprint } from '../control/memory.ts';
import { cellOf, metrics, ratioOf, reference, rowsOf, total, type Row } from '../net/metrics.ts';
import type { RoundResult } from '../net/rounds.ts';
import type { ProfilePass } from '../profile/pass.ts';
import type { Repair, Repaired } from '../repair/repair.ts';
import type { Scale } from '../scale/scale.ts';
import type { BenchResult, NetResult } from './result.ts';
import { spreadOf } from './statistics.ts';
import { stealLimit } from './steal.ts';
import type { MicroResult } from './suite.ts';
import type { Grid } from './table.ts';
import { summary, verdictGrid, type Judgement } from './verdict.ts';

/** Parts of the document; each has its pair of markers there. */
export const parts = ['targets', 'network', 'scale', 'control', 'repair', 'profile', 'micro'] as const;
export type Part = (typeof parts)[number];

export interface Section {
  readonly part: Part;
  readonly title: string;
  readonly grid?: Grid;
  readonly lines: readonly string[];
}

/** `mark` makes words stand out. */
export function sectionsOf(result: BenchResult, mark: (text: string) => string): readonly Section[] {
  const { targets, net, scale, control, controlTargets, repair, repairTargets, profile, micro } = result;
  const sections: Section[] = [];
  if (targets !== undefined) {
    const lines = [summary(targets)];
    sections.push({ part: 'targets', title: 'Targets', grid: verdictGrid(targets, mark), lines });
  }
  if (net !== undefined) sections.push(...networkSections(net));
  if (scale !== undefined) sections.push(scaleSection(scale));
  if (control !== undefined) sections.push(...controlSections(control, controlTargets ?? [], mark));
  if (repair !== undefined) sections.push(...repairSections(repair, repairTargets ?? [], mark));
  if (profile !== undefined) sections.push(...profileSections(profile));
  if (micro !== undefined) sections.push(microSection(micro));
  return sections;
}

function networkSections(net: NetResult): readonly Section[] {
  const profiles = [...new Set(net.results.map((result) => result.profile))];
  const sections = profiles.flatMap((profile): readonly Section[] => {
    const rows = rowsOf(net.results, profile);
    const title = `veth ${profile}`;
    const losses = lossGrid(net.results.filter((result) => result.profile === profile));
    return [
      { part: 'network', title, grid: netGrid(rows), lines: dropLines(rows) },
      ...(losses.rows.length === 0
        ? []
        : [{ part: 'network', title: `Where UDP packets went, ${title}`, grid: losses, lines: [] } as const]),
    ];
  });
  const missing = Object.entries(net.missing).map(([name, reason]) => `${name} (${reason})`);
  const lines = [
    stealLine(net.results),
    ...(missing.length === 0 ? [] : [`Left out: ${missing.join(', ')}.`]),
  ];
  return [...sections, { part: 'network', title: 'This run', lines }];
}

function netGrid(rows: readonly Row[]): Grid {
  const used = metrics.filter(({ key }) => rows.some((row) => row.metrics[key] !== undefined));
  return {
    head: ['', `ratio to\n${reference}`, ...used.map(({ title }) => title.join('\n'))],
    rows: rows.map((row) => [row.contender, ratioOf(row), ...used.map((metric) => cellOf(row, metric))]),
  };
}

function dropLines(rows: readonly Row[]): readonly string[] {
  return rows.flatMap(({ contender, drops }) => {
    const seen = Object.entries(drops).filter(([, count]) => count > 0);
    if (seen.length === 0) return [];
    return [`${contender} dropped: ${seen.map(([reason, count]) => `${reason} ${count}`).join(', ')}`];
  });
}

/** One row for each contender and UDP test, the rounds added up. */
function lossGrid(results: readonly RoundResult[]): Grid {
  const contenders = [...new Set(results.map((result) => result.contender))];
  const rows = contenders.flatMap((contender) =>
    (['udp64', 'udp1400'] as const).flatMap((test) => {
      const accounts = results
        .filter((result) => result.contender === contender)
        .flatMap(({ losses }) => losses[test] ?? []);
      return accounts.length === 0 ? [] : [lossRow(contender, test, accounts)];
    }),
  );
  return { head: ['', 'test', 'sent', 'delivered', 'lost at', 'unexplained'], rows };
}

function lossRow(contender: string, test: string, accounts: readonly LossAccount[]): readonly string[] {
  const sum = (key: 'sent' | 'delivered' | 'unexplained'): number =>
    accounts.reduce((all, account) => all + account[key], 0);
  const sent = sum('sent');
  const places = Object.entries(total(accounts.map((account) => account.places)))
    .filter(([, count]) => count / sent >= 0.0005)
    .toSorted(([, a], [, b]) => b - a)
    .map(([place, count]) => `${place} ${percent(count / sent)}`);
  const counts = [`${sent}`, percent(sum('delivered') / sent), places.join(', '), `${sum('unexplained')}`];
  return [contender, test, ...counts];
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** What the hypervisor took during the tests that count. */
function stealLine(results: readonly RoundResult[]): string {
  const values = (suffix: string): readonly number[] =>
    results.flatMap(({ sample }) =>
      Object.entries(sample).flatMap(([key, value]) => (key.endsWith(suffix) ? [value] : [])),
    );
  const [steal, attempts] = [values('.stealPercent'), values('.attempts')];
  if (steal.length === 0) return 'No test was run.';
  const { median, max } = spreadOf(steal);
  const repeats = attempts.reduce((sum, count) => sum + count - 1, 0);
  const above = steal.filter((value) => value > stealLimit).length;
  return (
    `Steal during a test: median ${median.toFixed(1)} %, most ${max.toFixed(1)} %. ${repeats} repeats because of ` +
    `more than ${stealLimit} %; ${above} of ${steal.length} results stayed above it.`
  );
}

/** Of one number that was measured once or more. */
function numberRow(
  name: string,
  values: readonly number[] | undefined,
  unit: string,
  digits: number,
): readonly string[] {
  if (values === undefined || values.length === 0) return [name, 'not measured', '', ''];
  const { median, min, max } = spreadOf(values);
  const spread = values.length < 2 ? '' : `${min.toFixed(digits)}-${max.toFixed(digits)}`;
  return [name, `${median.toFixed(digits)} ${unit}`, spread, `${values.length}`];
}

function scaleSection({ numbers, losses }: Scale): Section {
  const row = (name: string, key: keyof typeof numbers, unit: string, digits: number): readonly string[] =>
    numberRow(name, numbers[key], unit, digits);
  const places = Object.entries(losses?.places ?? {}).map(([place, count]) => `${place} ${count}`);
  return {
    part: 'scale',
    title: 'Scale',
    grid: {
      head: ['', 'median', 'min-max', 'values'],
      rows: [
        row('TCP 1 stream, 1 peer', 'peers.gbpsOne', 'Gbit/s', 2),
        row('TCP 1 stream, 65,536 peers', 'peers.gbpsMany', 'Gbit/s', 2),
        row('... ratio', 'peers.ratio', 'x', 3),
        row('... without flow-offload, 1 peer', 'lookedUp.gbpsOne', 'Gbit/s', 2),
        row('... without flow-offload, 65,536 peers', 'lookedUp.gbpsMany', 'Gbit/s', 2),
        row('... ratio', 'lookedUp.ratio', 'x', 3),
        row('replace 10,000 peers under load', 'replace.ms', 'ms', 1),
        row('... TCP meanwhile', 'replace.tcpGbps', 'Gbit/s', 2),
        row('... UDP packets sent meanwhile', 'replace.sent', '', 0),
        row('... of these lost', 'replace.lost', '', 0),
        row("... in the reader's full socket", 'replace.lostByReader', '', 0),
        row('... lost without replacements', 'replace.lostBefore', '', 0),
        row('idle `kersey up`, 1,000 peers', 'idle.percent', '% of a core', 2),
      ],
    },
    lines:
      losses === undefined || losses.sent === losses.delivered
        ? []
        : [`Lost while replacing, by place: ${places.join(', ')}.`],
  };
}

function controlSections(
  { numbers, footprint }: Control,
  judgements: readonly Judgement[],
  mark: (text: string) => string,
): readonly Section[] {
  const row = (name: string, key: keyof typeof numbers, unit: string, digits: number): readonly string[] =>
    numberRow(name, numbers[key], unit, digits);
  const outages = (['killed', 'swallowed'] as const).flatMap((outage) => [
    row(`etcd ${outage}: packets sent`, `${outage}.sent`, '', 0),
    row('... lost', `${outage}.lost`, '', 0),
    row('... CPU of the daemon meanwhile', `${outage}.cpuPercent`, '% of a core', 2),
    row('... back, until a new lease has its route', `${outage}.routeMs`, 'ms', 0),
    row('... back, until the status says ok', `${outage}.okMs`, 'ms', 0),
  ]);
  const part = 'control';
  return [
    { part, title: 'Promises', grid: verdictGrid(judgements, mark), lines: [] },
    {
      part,
      title: 'Numbers',
      grid: {
        head: ['', 'median', 'min-max', 'values'],
        rows: [
          row('1,000 leases, from the first put', 'thousand.ms', 'ms', 0),
          row("... from the last put's answer", 'thousand.afterAnswerMs', 'ms', 0),
          row('one more, p50', 'one.p50Ms', 'ms', 1),
          row('... p99', 'one.p99Ms', 'ms', 1),
          row('... longest', 'one.maxMs', 'ms', 1),
          row('memory, resident', 'memory.residentMB', 'MB', 1),
          row('... its share of what others use, too', 'memory.proportionalMB', 'MB', 1),
          row('... the most there ever was', 'memory.peakMB', 'MB', 1),
          ...outages,
        ],
      },
      lines: [],
    },
    ...(footprint === undefined ? [] : [memorySection(footprint)]),
  ];
}

function memorySection({ parts: byKind }: Footprint): Section {
  const rows = Object.entries(byKind)
    .toSorted(([, a], [, b]) => b - a)
    .map(([name, bytes]) => [name, `${(bytes / 1e6).toFixed(1)} MB`]);
  return { part: 'control', title: 'Memory', grid: { head: ['resident', ''], rows }, lines: [] };
}

function repairSections(
  { seed, numbers, kinds, suites, missing }: Repair,
  judgements: readonly Judgement[],
  mark: (text: string) => string,
): readonly Section[] {
  const part = 'repair';
  const gridOf = (rows: readonly Repaired[]): Grid => ({
    head: ['', 'count', 'p50\nms', 'p99\nms', 'longest\nms'],
    rows: rows.map(({ name, count, ...times }) => [
      name,
      `${count}`,
      ...[times.p50Ms, times.p99Ms, times.maxMs].map((ms) => ms.toFixed(0)),
    ]),
  });
  const [p50, longest] = [numbers['repair.p50Ms'], numbers['repair.maxMs']].map((values) =>
    values?.[0]?.toFixed(0),
  );
  const left = Object.entries(missing).map(([suite, reason]) => `Left out: ${suite} (${reason}).`);
  return [
    { part, title: 'What others break', grid: verdictGrid(judgements, mark), lines: [] },
    { part, title: 'By suite', grid: gridOf(suites), lines: left },
    {
      part,
      title: 'By kind',
      grid: gridOf(kinds),
      lines: [`Seed ${seed}; of all, p50 ${p50 ?? '?'} ms, longest ${longest ?? '?'} ms.`],
    },
  ];
}

function profileSections(pass: ProfilePass): readonly Section[] {
  if (pass.kind === 'missing')
    return [{ part: 'profile', title: 'Profile', lines: [`No profile: ${pass.reason}.`] }];
  const list = (hot: readonly { symbol: string; percent: number }[]): string =>
    hot.map(({ symbol, percent: share }) => `${symbol} ${share.toFixed(1)}`).join(', ');
  const profiles = [...new Set(pass.rows.map((row) => row.profile))];
  const sections = profiles.map((profile: OffloadProfile): Section => {
    const rows = pass.rows.filter((row) => row.profile === profile);
    return {
      part: 'profile',
      title: `Profile, veth ${profile}`,
      lines: rows.map(
        ({ contender, gbps, busyPercent, hottest, programs }) =>
          `${contender}, ${gbps.toFixed(2)} Gbit/s under perf, CPUs ${busyPercent.toFixed(0)} % busy. ` +
          `Functions: ${list(hottest)}. Threads: ${list(programs)}.`,
      ),
    };
  });
  const where = `Percent of the busy samples. Folded stacks: ${pass.directory}/.`;
  return [...sections, { part: 'profile', title: 'Stacks', lines: [where] }];
}

function microSection(results: readonly MicroResult[]): Section {
  const grid: Grid = {
    head: ['', 'per operation', '+-', 'throughput'],
    rows: results.map((result) => [
      result.name,
      duration(result.nanoseconds),
      `${result.marginPercent.toFixed(1)} %`,
      result.bytes === 0 ? '' : `${((result.bytes * 8) / result.nanoseconds).toFixed(1)} Gbit/s`,
    ]),
  };
  return { part: 'micro', title: 'Micro benchmarks', grid, lines: [] };
}

function duration(nanoseconds: number): string {
  if (nanoseconds < 1000) return `${nanoseconds.toFixed(1)} ns`;
  if (nanoseconds < 1e6) return `${(nanoseconds / 1000).toFixed(2)} us`;
  return `${(nanoseconds / 1e6).toFixed(2)} ms`;
}
