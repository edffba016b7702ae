// What Kersey promises of its speed, and what it hopes for. Ratios are between two contenders in the same round; the
// median over the rounds counts. A number is judged as it is shown, with its digits.

import type { OffloadProfile } from '../src/lab/offloads.ts';
import type { ControlMetric } from './control/control.ts';
import type { RepairMetric } from './repair/repair.ts';
import type { ScaleMetric } from './scale/scale.ts';

export type Bound = { readonly atLeast: number } | { readonly atMost: number };

/** Of the benches that measure numbers, not ratios. */
export type Metric = ScaleMetric | ControlMetric | RepairMetric;

/** What is judged: a metric of metrics.ts as a ratio, or a number of the other benches. */
export type Measure =
  | {
      readonly kind: 'ratio';
      readonly metric: string;
      readonly profile: OffloadProfile;
      readonly contender: string;
      readonly to: string;
    }
  | { readonly kind: 'number'; readonly metric: Metric };

export interface Target {
  readonly title: string;
  readonly measure: Measure;
  readonly unit: 'x' | 'ms' | 'packets' | 'things' | '%' | 'MB';
  readonly digits: number;
  readonly must: Bound;
  readonly aim?: Bound;
}

const ours = 'Kersey';
const kernel = 'kernel vxlan';

function ratio(
  title: string,
  metric: string,
  profile: OffloadProfile,
  bounds: { readonly must: Bound; readonly aim?: Bound },
  [contender, to] = [ours, kernel] as readonly [string, string],
): Target {
  const measure = { kind: 'ratio', metric, profile, contender, to } as const;
  return { title: `${title}, veth ${profile}`, measure, unit: 'x', digits: 2, ...bounds };
}

const mixed = { must: { atLeast: 0.85 }, aim: { atLeast: 1 } };
const roundTrip = { must: { atMost: 4 }, aim: { atMost: 2 } };
const cpu = { must: { atMost: 1.5 }, aim: { atMost: 1.1 } };

export const targets: readonly Target[] = [
  ratio('TCP 1 stream, both ends Kersey', 'tcp1.gbps', 'as is', {
    must: { atLeast: 0.8 },
    aim: { atLeast: 1 },
  }),
  ratio('TCP 1 stream, both ends Kersey', 'tcp1.gbps', 'plain NIC', {
    must: { atLeast: 0.9 },
    aim: { atLeast: 1.2 },
  }),
  ratio('TCP 1 stream, both ends Kersey', 'tcp1.gbps', 'all off', { must: { atLeast: 0.7 } }),
  ...(['as is', 'plain NIC'] as const).flatMap((profile) => [
    ratio('TCP 1 stream, Kersey to kernel', 'tcp1.gbps', profile, mixed, ['Kersey -> kernel', kernel]),
    ratio('TCP 1 stream, kernel to Kersey', 'tcp1.gbps', profile, mixed, ['kernel -> Kersey', kernel]),
  ]),
  ratio(
    'TCP 1 stream against one packet a syscall',
    'tcp1.gbps',
    'as is',
    { must: { atLeast: 10 }, aim: { atLeast: 15 } },
    [ours, 'Kersey one packet a syscall'],
  ),
  ratio('UDP of 64 B, packets delivered', 'udp64.kpps', 'as is', {
    must: { atLeast: 1 },
    aim: { atLeast: 2 },
  }),
  ratio('round trip over TCP, p50', 'roundTrip.p50Us', 'as is', roundTrip),
  ratio('round trip over TCP, p99', 'roundTrip.p99Us', 'as is', roundTrip),
  ratio('CPU seconds a GB, whole machine', 'tcp1.cpuSecondsPerGB', 'as is', cpu),
  ratio('CPU seconds a GB, whole machine', 'tcp1.cpuSecondsPerGB', 'plain NIC', cpu),
  {
    title: '65,536 peers: TCP against 1 peer',
    measure: { kind: 'number', metric: 'peers.ratio' },
    ...{ unit: 'x', digits: 2, must: { atLeast: 0.98 }, aim: { atLeast: 1 } },
  },
  {
    title: 'replace all of 10,000 peers under load: time',
    measure: { kind: 'number', metric: 'replace.ms' },
    ...{ unit: 'ms', digits: 1, must: { atMost: 50 }, aim: { atMost: 10 } },
  },
  {
    title: 'replace all of 10,000 peers under load: packets lost',
    measure: { kind: 'number', metric: 'replace.lost' },
    ...{ unit: 'packets', digits: 0, must: { atMost: 0 } },
  },
  {
    title: 'idle with 1,000 peers: CPU of `kersey up`, of one core',
    measure: { kind: 'number', metric: 'idle.percent' },
    ...{ unit: '%', digits: 2, must: { atMost: 0.5 } },
  },
];

function number(
  title: string,
  metric: ControlMetric | RepairMetric,
  unit: Target['unit'],
  atMost: number,
  digits = 0,
): Target {
  return { title, measure: { kind: 'number', metric }, unit, digits, must: { atMost } };
}

/** Of the benches of the control plane. */
export const controlTargets: readonly Target[] = [
  number('1,000 leases at once: from the first put to the last route', 'thousand.ms', 'ms', 1000),
  number('one more, 1,000 there: put to route, p99', 'one.p99Ms', 'ms', 100),
  number('memory with 1,200 peers, resident', 'memory.residentMB', 'MB', 110, 1),
  ...(['killed', 'swallowed'] as const).flatMap((outage) => [
    number(`etcd ${outage}: packets lost`, `${outage}.lost`, 'packets', 0),
    number(`etcd ${outage}: CPU meanwhile, of one core`, `${outage}.cpuPercent`, '%', 2, 2),
  ]),
];

/** Of what others break and a node puts right. */
export const repairTargets: readonly Target[] = [
  number('breakage until the host is right again, p99', 'repair.p99Ms', 'ms', 2000),
  number("others' things that were changed", 'repair.foreignLost', 'things', 0),
];
