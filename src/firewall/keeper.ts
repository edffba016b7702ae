// Keeps the firewall as it should be for as long as a node runs.
//
// Rules that nf_tables keeps (nft, and the iptables of today) have a generation, a number that the kernel raises with every
// change of any rule. The keeper sleeps until it is told of a change, and only when the number is another the rules are
// read: a quiet firewall costs nothing. What the keeper itself changes is told like anything else, and costs one more look
// that finds nothing. Where the kernel does not tell, the number is asked for every `resync`. Legacy iptables has nothing
// of the kind, and is read every `resync`. Between two looks there is a rest, short at first; with every look that finds only
// changes of others it doubles, up to `resync`, so that a host whose rules never stop changing does not keep us reading.
//
// What differs is repaired by applying the whole set. The rules stay when the keeper ends: containers outlive daemons.

import { systemClock } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { KerseyError } from '../errors.ts';
import { chooseBackend } from './choose.ts';
import type { Choice, FirewallWish } from './choose.ts';
import { Nftables } from './nftables.ts';
import { removeBut } from './remove.ts';
import { desiredRules } from './rules.ts';
import type { Dialect, FamilyRules, OverlayNetwork } from './rules.ts';

export interface KeeperOptions {
  readonly wish: FirewallWish;
  readonly networks: readonly OverlayNetwork[];
  /** How long it may take until a change is seen where the kernel does not tell of it, in milliseconds. */
  readonly resync: number;
  /** The generation of nf_tables' rules; undefined when it is not to be had. */
  readonly generation: () => number | undefined;
  /** Whether rulesChanged() is called when they change; once is enough until the generation is asked for again. */
  readonly told: boolean;
  readonly onRepair: (what: string) => void;
  /** Something that was done once, in a sentence. */
  readonly onNotice: (text: string) => void;
  /** Problem, warnings or choice are others than before. */
  readonly onChange: () => void;
  /** For tests. */
  readonly clock?: Clock;
}

export interface FirewallState {
  readonly mode: Dialect | 'none' | 'off';
  readonly why: string;
  readonly masquerade: boolean;
  readonly forward: boolean;
}

/** Changes in quick succession are looked at together, in milliseconds. */
const shortestRest = 250;
/** Of its time, how much a keeper reads at most while the rest is still short. */
const readingShare = 0.2;
/** After so long without any change the rest is short again, in milliseconds. */
const calm = 10_000;
/** While nothing here makes rules, this often it is tried whether something does now, in milliseconds. */
const searchPeriod = 60_000;

export class FirewallKeeper {
  readonly #options: KeeperOptions;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  #choice: Choice | undefined;
  #problem: KerseyError | undefined;
  #warnings: readonly string[] = [];
  /** Chains of others that drop, as they were when the choice was last made. */
  #dropping = '';
  #repairs = 0;
  #round: Promise<void> | undefined;
  /** When the last look ended, how long it took, and the generation from before it. */
  #last = { end: 0, cost: 0, generation: undefined as number | undefined };
  /** How many looks in a row have found others' changes alone. */
  #fruitless = 0;
  /** The last look has changed rules itself, which leads to another look. */
  #echo = false;
  /** Rules were changed since the generation was last asked for. */
  #stirred = false;
  /** When it was asked for and was the same. */
  #asked = 0;
  #unschedule: (() => void) | undefined;

  private constructor(options: KeeperOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Resolves when the rules are in place, and nobody else's mode has left any.
   * @throws KerseyError FIREWALL when something was asked for by name that nothing here can do
   */
  static async begin(options: KeeperOptions, signal: AbortSignal): Promise<FirewallKeeper> {
    const keeper = new FirewallKeeper(options);
    if (options.wish.mode === 'off') return keeper;
    const stop = (): void => {
      keeper.#stop.abort();
    };
    signal.addEventListener('abort', stop, { once: true });
    try {
      signal.throwIfAborted();
      await keeper.#timed(() => keeper.#choose());
    } finally {
      signal.removeEventListener('abort', stop);
    }
    const asked = options.wish.masquerade || options.wish.mode !== 'auto';
    if (keeper.#choice?.kind === 'none' && asked) throw keeper.#choice.error;
    // Nobody could tell it of what others did meanwhile.
    keeper.rulesChanged();
    return keeper;
  }

  get state(): FirewallState {
    const { masquerade, forward, mode } = this.#options.wish;
    const choice = this.#choice;
    if (mode === 'off' || choice === undefined) {
      return { mode: 'off', why: '--firewall off', masquerade: false, forward: false };
    }
    if (choice.kind === 'none') {
      return { mode: 'none', why: choice.error.message, masquerade: false, forward: false };
    }
    const { backend, why } = choice;
    return { mode: backend.dialect, why: `${backend.name}: ${why}`, masquerade, forward };
  }

  /** Times that rules were put right that had been in order before. */
  get repairs(): number {
    return this.#repairs;
  }

  get problems(): readonly KerseyError[] {
    return this.#problem === undefined ? [] : [this.#problem];
  }

  get warnings(): readonly string[] {
    return this.#warnings;
  }

  /** Some rule may be another than before: leads to a look when it is time to. */
  rulesChanged(): void {
    this.#stirred = true;
    if (this.#clock.now() - this.#last.end > calm) this.#fruitless = 0;
    if (this.#round === undefined) this.#schedule();
  }

  /** Resolves when no look is under way. */
  async settled(): Promise<void> {
    await this.#round;
  }

  /** Ends what is under way. The rules stay. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#unschedule?.();
    await this.settled();
  }

  #schedule(): void {
    this.#unschedule?.();
    this.#unschedule = undefined;
    const due = this.#due();
    if (due === undefined || this.#stop.signal.aborted) return;
    this.#unschedule = this.#clock.after(Math.max(0, due - this.#clock.now()), () => {
      this.#turn();
    });
  }

  /** When to turn to the rules again; undefined when only a change is a reason to. */
  #due(): number | undefined {
    const { wish, resync, told } = this.#options;
    const choice = this.#choice;
    if (choice === undefined || (!wish.masquerade && !wish.forward)) return undefined;
    const { end, cost } = this.#last;
    if (choice.kind === 'none') return end + searchPeriod;
    if (this.#problem !== undefined || !choice.backend.inNfTables) return end + resync;
    if (this.#stirred) {
      const rest = Math.max(shortestRest, cost / readingShare) * 2 ** Math.min(this.#fruitless, 10);
      return end + Math.min(resync, rest);
    }
    return told ? undefined : Math.max(end, this.#asked) + resync;
  }

  #turn(): void {
    if (this.#stop.signal.aborted) return;
    if (this.#isQuiet()) {
      this.#asked = this.#clock.now();
      this.#schedule();
      return;
    }
    this.#round = this.#timed(() => this.#look()).finally(() => {
      this.#round = undefined;
      this.#schedule();
    });
  }

  /** Whether the generation says that nobody has changed a rule. */
  #isQuiet(): boolean {
    if (this.#choice?.kind !== 'made' || this.#problem !== undefined) return false;
    if (!this.#choice.backend.inNfTables) return false;
    this.#stirred = false;
    const current = this.#options.generation();
    return current !== undefined && current === this.#last.generation;
  }

  /** Runs one look, and keeps what came of it. Never rejects. */
  async #timed(look: () => Promise<void>): Promise<void> {
    const before = this.#summary();
    const start = this.#clock.now();
    this.#stirred = false;
    const generation = this.#options.generation();
    try {
      await look();
      this.#problem = undefined;
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#problem = KerseyError.from(error);
    }
    const end = this.#clock.now();
    this.#last = { end, cost: end - start, generation };
    if (this.#summary() !== before) this.#options.onChange();
  }

  async #choose(): Promise<void> {
    const { wish, networks, onNotice } = this.#options;
    const signal = this.#stop.signal;
    const choice = await chooseBackend(wish, networks, signal);
    this.#choice = choice;
    if (choice.kind === 'none') {
      this.#warnings = [
        `no firewall rules are made: ${choice.error.message}; where forwarding is dropped by default, let the network through by hand`,
      ];
      return;
    }
    const families = networks.map(({ family }) => family);
    const { removed, problems } = await removeBut(choice.backend, families, signal);
    for (const what of removed) onNotice(`removed ${what}, which another mode had left`);
    for (const problem of problems)
      onNotice(`whether another mode has left rules is not known: ${problem.line}`);
    await this.#lookForDrops();
  }

  async #look(): Promise<void> {
    const choice = this.#choice;
    if (choice?.kind !== 'made') {
      await this.#choose();
      return;
    }
    const { backend } = choice;
    const differences = await backend.ensure(this.#rules(backend.dialect), this.#stop.signal);
    if (differences.length > 0) this.#fruitless = 0;
    else if (!this.#echo) this.#fruitless++;
    this.#echo = differences.length > 0;
    for (const difference of differences) {
      this.#repairs++;
      this.#options.onRepair(`${difference}; put back`);
    }
    await this.#lookForDrops();
  }

  /** With nft, whether somebody drops what we accept; with a choice of our own, iptables may be the better one. */
  async #lookForDrops(): Promise<void> {
    this.#warnings = [];
    const { wish, networks } = this.#options;
    const choice = this.#choice;
    if (choice?.kind !== 'made' || !(choice.backend instanceof Nftables) || !wish.forward) return;
    const families = networks.map(({ family }) => family);
    const dropping = await choice.backend.droppingForward(families, this.#stop.signal);
    const free = wish.mode === 'auto' && !wish.first.asked && choice.why === wish.first.why;
    const names = dropping.map(({ name }) => name).join(', ');
    if (names === '') return;
    const news = names !== this.#dropping;
    this.#dropping = names;
    if (free && news && dropping.some(({ ofIptables }) => ofIptables)) {
      await this.#choose();
      return;
    }
    const advice = dropping.every(({ ofIptables }) => ofIptables)
      ? 'let iptables make the rules'
      : 'accept the network there';
    this.#warnings = [
      `the firewall chain ${names} drops what it forwards, which an accept in nft's own table does not lift; ${advice}`,
    ];
  }

  #rules(dialect: Dialect): readonly FamilyRules[] {
    const { wish, networks } = this.#options;
    return desiredRules(networks, wish, dialect);
  }

  #summary(): string {
    return JSON.stringify([this.state, this.#problem?.line, this.#warnings, this.#repairs]);
  }
}
