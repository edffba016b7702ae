// Two hosts whose engines are run directly: no store and no routes for peers, so that only the engine is measured.

import { fileURLToPath } from 'node:url';
import type { EngineConfig, EnginePeer } from '../../src/engine/engine.ts';
import type { Feature } from '../../src/engine/feature.ts';
import type { Background } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { readDrops, type DropSnapshot, type EngineTotals } from '../../src/lab/losses.ts';
import { sourceCommand } from '../../src/lab/self.ts';

export type Command =
  | { readonly kind: 'peers'; readonly count: number; readonly generation: number }
  | { readonly kind: 'received' }
  | { readonly kind: 'totals' };

/** What an engine has received, and when it had, by its own clock. */
export interface Received {
  readonly bytes: number;
  readonly ms: number;
}

const program = fileURLToPath(new URL('./engine-main.ts', import.meta.url));
const device = 'flannel.1';

interface Side {
  readonly host: Host;
  readonly subnet: string;
  readonly vtepMac: string;
}

export interface EnginePairOptions {
  /** All threads stay on it: throughput is what a packet costs then, for nothing runs beside anything else or moves. */
  readonly cpu?: number;
  readonly disable?: readonly Feature[];
}

export class EnginePair {
  readonly lab: Lab;
  /** The second host's address inside the overlay. */
  readonly address = '172.30.2.0';
  #engines: readonly RemoteEngine[] = [];

  private constructor(lab: Lab) {
    this.lab = lab;
  }

  static async open(signal: AbortSignal, options: EnginePairOptions = {}): Promise<EnginePair> {
    const pair = new EnginePair(await Lab.open({ hosts: ['h1', 'h2'], join: 'direct', signal }));
    try {
      await pair.#start(signal, options);
      return pair;
    } catch (error) {
      await pair.close();
      throw error;
    }
  }

  async #start(signal: AbortSignal, options: EnginePairOptions): Promise<void> {
    const sides = this.lab.hosts.map((host, index) => ({
      host,
      subnet: `172.30.${index + 1}`,
      vtepMac: `02:6b:79:00:00:0${index + 1}`,
    }));
    const [one, two] = sides;
    if (one === undefined || two === undefined) throw new RangeError('a pair has two hosts');
    this.#engines = await Promise.all([
      startEngine(options, one, two, signal),
      startEngine(options, two, one, signal),
    ]);
    await this.setPeers(1, 0);
  }

  /** Replaces the table of both engines; answers with the milliseconds of each. */
  setPeers(count: number, generation: number): Promise<readonly number[]> {
    return Promise.all(
      this.#engines.map(async (engine) => {
        const { ms } = (await engine.ask({ kind: 'peers', count, generation })) as { ms: number };
        return ms;
      }),
    );
  }

  /** Of the second engine. */
  async received(): Promise<Received> {
    return (await this.#engines[1]?.ask({ kind: 'received' })) as Received;
  }

  async drops(): Promise<DropSnapshot> {
    const totals = await Promise.all(
      this.#engines.map(async (engine) => (await engine.ask({ kind: 'totals' })) as EngineTotals),
    );
    return readDrops(this.lab.hosts, totals.reduce(added));
  }

  close(): Promise<void> {
    return this.lab.close();
  }
}

function added(a: EngineTotals, b: EngineTotals): EngineTotals {
  const drops = Object.entries(a.drops).map(
    ([reason, count]) => [reason, count + (b.drops[reason] ?? 0)] as const,
  );
  return {
    txPackets: a.txPackets + b.txPackets,
    rxPackets: a.rxPackets + b.rxPackets,
    drops: Object.fromEntries(drops),
  };
}

/** The beginning of a command that stays on the CPU. */
function pinned(cpu: number | undefined): readonly string[] {
  return cpu === undefined ? [] : ['taskset', '-c', String(cpu)];
}

async function startEngine(
  { cpu, disable = [] }: EnginePairOptions,
  own: Side,
  other: Side,
  signal: AbortSignal,
): Promise<RemoteEngine> {
  const config: EngineConfig = {
    ...{ device, vni: 1, port: 8472, mtu: 1450 },
    ...{ local: own.host.address4, vtepMac: own.vtepMac, disable },
  };
  const real: EnginePeer = {
    prefix: `${other.subnet}.0/24`,
    outer: other.host.address4,
    vtepMac: other.vtepMac,
  };
  const order = JSON.stringify({ config, real, local: `${own.subnet}.0/24` });
  const engine = new RemoteEngine(own.host.spawn([...pinned(cpu), ...sourceCommand(program), order]), signal);
  await engine.ready();
  await own.host.ip(
    `address add ${own.subnet}.0/32 dev ${device}`,
    `link set ${device} mtu 1450 up`,
    `route add ${other.subnet}.0/24 dev ${device} src ${own.subnet}.0`,
  );
  return engine;
}

/** An engine in another process. It answers in the order of the questions, so the next waits for the last answer. */
class RemoteEngine {
  readonly #child: Background;
  readonly #signal: AbortSignal;
  #last: Promise<unknown> = Promise.resolve();

  constructor(child: Background, signal: AbortSignal) {
    this.#child = child;
    this.#signal = signal;
  }

  async ready(): Promise<void> {
    await this.#answer('the engine');
  }

  ask(command: Command): Promise<unknown> {
    const answer = this.#last.then(() => this.#ask(command));
    // Whoever asked sees the failure; the next question finds out for itself.
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  #ask(command: Command): Promise<unknown> {
    this.#child.stdout = '';
    this.#child.write(`${JSON.stringify(command)}\n`);
    return this.#answer(`the engine's answer to '${command.kind}'`);
  }

  #answer(what: string): Promise<unknown> {
    return awaitCondition(
      what,
      () => {
        const line = /^(.*)\n/.exec(this.#child.stdout)?.[1];
        if (line !== undefined) return { line };
        if (!this.#child.running) throw this.#child.failure('an engine');
        return undefined;
      },
      { signal: this.#signal, timeoutMs: 20_000 },
    ).then(({ line }) => JSON.parse(line) as unknown);
  }
}
