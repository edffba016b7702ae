// The program behind engine-pair.ts: one engine, without a control plane, told by lines of JSON on standard input.
//
//   argv: {"config": EngineConfig, "real": EnginePeer, "local": prefix}
//   {"kind":"peers","count":N,"generation":G}   replaces the table, answers {"ms":M}: the time of the replacement alone
//   {"kind":"received"}                         answers {"bytes":N,"ms":M}: of inner packets, and the clock
//   {"kind":"totals"}                           answers {"txPackets":N,"rxPackets":N,"drops":{...}}

import { createInterface } from 'node:readline';
import { Engine, type EngineConfig, type EnginePeer } from '../../src/engine/engine.ts';
import type { EngineTotals } from '../../src/lab/losses.ts';
import type { Command, Received } from './engine-pair.ts';
import { peersOf } from './table.ts';

const { config, real, local } = JSON.parse(process.argv[2] ?? '') as {
  config: EngineConfig;
  real: EnginePeer;
  local: string;
};

function totals(engine: Engine): EngineTotals {
  const { counters, drops } = engine.totals();
  return {
    txPackets: Number(counters['tx_packets'] ?? 0n),
    rxPackets: Number(counters['rx_packets'] ?? 0n),
    drops: Object.fromEntries(Object.entries(drops).map(([reason, count]) => [reason, Number(count)])),
  };
}

function received(engine: Engine): Received {
  return { bytes: Number(engine.totals().counters['rx_bytes'] ?? 0n), ms: performance.now() };
}

/** The last few are kept: collecting the garbage of large ones takes CPU time from what is measured next. */
const tables = new Map<string, readonly EnginePeer[]>();

function tableOf(count: number, generation: number): readonly EnginePeer[] {
  const key = `${count}/${generation}`;
  const table = tables.get(key) ?? peersOf(count, generation, real);
  tables.set(key, table);
  const [oldest] = tables.keys();
  if (tables.size > 4 && oldest !== undefined) tables.delete(oldest);
  return table;
}

function setPeers(engine: Engine, count: number, generation: number): { ms: number } {
  const table = { peers: tableOf(count, generation), local: [local] };
  const start = performance.now();
  engine.setPeers(table);
  return { ms: performance.now() - start };
}

function answer(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

const engine = Engine.open(config);
try {
  answer({ ready: true });
  for await (const line of createInterface(process.stdin)) {
    const command = JSON.parse(line) as Command;
    if (command.kind === 'totals') answer(totals(engine));
    else if (command.kind === 'received') answer(received(engine));
    else answer(setPeers(engine, command.count, command.generation));
  }
} finally {
  engine.close();
}
