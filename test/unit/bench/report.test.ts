// The generated part of docs/benchmarks.md.

import { readFileSync } from 'node:fs';
import t from 'tap';
import { replacePart, terminal } from '../../../bench/lib/report.ts';
import type { BenchResult } from '../../../bench/lib/result.ts';
import { judge } from '../../../bench/lib/verdict.ts';
import { targets } from '../../../bench/targets.ts';
import { parts } from '../../../bench/lib/sections.ts';

const page = readFileSync(new URL('../../../docs/benchmarks.md', import.meta.url), 'utf8');

t.test('only what is between the markers of a part is replaced', async (t) => {
  const text = 'a\n<!-- micro: begin -->\nold\n<!-- micro: end -->\nb\n';
  const replaced = replacePart(text, 'micro', 'new');
  t.equal(replaced, 'a\n<!-- micro: begin -->\n\nnew\n\n<!-- micro: end -->\nb\n');
  t.equal(replacePart(replaced, 'micro', 'new'), replaced, 'twice is as once');
});

t.test('the page has every part', async (t) => {
  for (const part of parts) t.match(replacePart(page, part, `new ${part}`), `new ${part}`);
  t.throws(() => replacePart(page, 'nothing', ''), /nothing: begin/);
});

t.test('the terminal shows what was measured and what was left out', async (t) => {
  const udp64 = {
    ...{ sent: 1000, delivered: 700, atReceiver: 200, unexplained: 1 },
    places: { "the receiver's socket": 200, 'h1 flannel.1': 99 },
  };
  const result: BenchResult = {
    date: '2026-01-02T03:04:05.678Z',
    ...{ length: 'quick', stealPercent: 1.25, faults: ['round 1: the bytes were others'] },
    machine: {
      ...{
        cpu: 'abacus',
        cpus: 2,
        memoryGB: 1,
        arch: 'x64',
        kernel: '6.1',
        node: 'v20',
        kersey: '0',
        commit: 'c',
      },
      ...{ congestionControl: 'cubic', load: 0, tools: {} },
    },
    micro: [{ name: 'checksum', bytes: 1000, nanoseconds: 100, marginPercent: 1, samples: 9 }],
    net: {
      ...{ rounds: { 'plain NIC': 1 }, seconds: { tcp1: 2 } },
      ...{ missing: { nebula: 'not installed: nebula' } },
      results: [
        {
          ...{ contender: 'Kersey', profile: 'plain NIC', round: 0 },
          sample: { 'tcp1.gbps': 9.876, 'tcp1.stealPercent': 4.5, 'tcp1.attempts': 3 },
          drops: { tx_no_peer: 3, rx_short: 0 },
          losses: { udp64: udp64 },
        },
      ],
    },
  };
  const text = terminal({
    ...result,
    scale: { numbers: { 'replace.ms': [4, 6, 8], 'replace.lost': [2] }, losses: udp64, faults: [] },
    profile: { kind: 'missing', reason: 'not installed: perf' },
    targets: judge(targets, result.net?.results ?? [], { 'replace.ms': [4, 6, 8], 'replace.lost': [2] }),
  });
  for (const part of [
    'abacus',
    'cubic',
    '100.0 ns',
    '80.0 Gbit/s',
    'veth plain NIC',
    '9.88',
    'tx_no_peer 3',
    "the receiver's socket 20.0 %, h1 flannel.1 9.9 %",
    'Steal over the whole run: 1.3 %',
    '2 repeats because of more than 3 %; 1 of 1 results stayed above it',
    'FAULT: round 1: the bytes were others',
    '6.0 ms │ 4.0-8.0',
    "Lost while replacing, by place: the receiver's socket 200, h1 flannel.1 99.",
    'No profile: not installed: perf.',
    '6.0 ms (4.0-8.0) │ <= 50 ms │ <= 10 ms │ aim met',
    '1 of 17 FAIL (replace all of 10,000 peers under load: packets lost)',
  ]) {
    t.ok(text.replaceAll(/ +/g, ' ').includes(part), part);
  }
  t.match(text, 'Left out: nebula (not installed: nebula)');
  t.notMatch(text, 'rx_short');
});
