// Runs the commands of the extension backend until the host has seen them for exactly the peers that are wanted.
//
// Whoever has a plan tells it, as often as he likes; only a difference runs anything. One command at a time: first `start`,
// then `remove` for peers that have gone, then `add` for those that are new or have changed. One that fails is a problem
// and tried again, later each time, while the others go on; only `start` holds them up. A `remove` that fails is logged
// and forgotten, as in flannel: mostly there is nothing left to remove.
//
// What was run is known to this process alone. A restarted node runs `start`, and `add` for every peer, once more, and
// knows nothing of peers that went meanwhile. At the end nothing is run; a command that is under way is killed.

import { runCommand } from '../../backend/extension/command.ts';
import type { CommandPeer, CommandsPlan } from '../../backend/extension/commands-plan.ts';
import { KerseyError } from '../../errors.ts';
import type { Log } from '../../observe/log.ts';

export interface ExtensionRunnerOptions {
  readonly log: Pick<Log, 'info' | 'warn'>;
  /** Told when problems come or go. */
  readonly onChange?: () => void;
  /** For one command, in milliseconds. */
  readonly timeLimit?: number;
  /** The wait after the first failure in a row, doubled with every further one, and its end. In milliseconds. */
  readonly retry?: { readonly from: number; readonly to: number };
}

interface Task {
  /** What it is run for: `start`, or a peer's name. */
  readonly key: string;
  readonly kind: 'start' | 'add' | 'remove';
  readonly what: string;
  readonly command: string;
  readonly variables: CommandPeer['variables'];
  readonly input?: string;
  /** What it makes true. */
  readonly peer?: CommandPeer;
}

interface Failure {
  readonly problem: KerseyError;
  readonly times: number;
  /** By performance.now. */
  readonly again: number;
  /** What failed: when something else is wanted, it does not count. */
  readonly text: string;
}

const startKey = 'start';
const defaultRetry = { from: 1000, to: 60_000 };

export class ExtensionRunner {
  readonly #options: ExtensionRunnerOptions;
  readonly #abort = new AbortController();
  #plan: CommandsPlan = { peers: [] };
  /** The `start` that was run, as text. */
  #started: string | undefined;
  /** Peers that `add` was run for, whether or not it went well, and as text what went well. */
  readonly #done = new Map<string, { readonly peer: CommandPeer; readonly text: string | undefined }>();
  readonly #failures = new Map<string, Failure>();
  #loop: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ExtensionRunnerOptions) {
    this.#options = options;
  }

  /** What failed and is to be tried again. */
  get problems(): readonly KerseyError[] {
    return [...this.#failures.values()].map(({ problem }) => problem);
  }

  want(plan: CommandsPlan): void {
    this.#plan = plan;
    const keys = new Set(plan.peers.map(({ name }) => name));
    if (plan.start !== undefined) keys.add(startKey);
    for (const key of this.#failures.keys()) if (!keys.has(key)) this.#failures.delete(key);
    this.#wake();
  }

  /** Resolves when nothing is left that could be run now. */
  async idle(): Promise<void> {
    while (this.#loop !== undefined) await this.#loop;
  }

  /** Ends what is under way and runs nothing more. */
  async close(): Promise<void> {
    this.#abort.abort();
    clearTimeout(this.#timer);
    await this.idle();
  }

  #wake(): void {
    if (this.#loop !== undefined || this.#abort.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#loop = this.#run().finally(() => {
      this.#loop = undefined;
      this.#sleep();
    });
  }

  /** Until the next failure may be tried again. */
  #sleep(): void {
    const next = Math.min(...[...this.#failures.values()].map(({ again }) => again));
    if (!Number.isFinite(next) || this.#abort.signal.aborted) return;
    this.#timer = setTimeout(
      () => {
        this.#wake();
      },
      Math.max(0, next - performance.now()),
    );
  }

  async #run(): Promise<void> {
    for (let task = this.#next(); task !== undefined; task = this.#next()) {
      const before = this.#failures.size;
      await this.#try(task);
      if (this.#failures.size !== before) this.#options.onChange?.();
    }
  }

  #next(): Task | undefined {
    if (this.#abort.signal.aborted) return undefined;
    const due = (task: Task): boolean => {
      const failure = this.#failures.get(task.key);
      return failure?.text !== textOf(task) || failure.again <= performance.now();
    };
    const start = this.#start();
    if (start !== undefined) return due(start) ? start : undefined;
    const [removal] = this.#removals();
    return removal ?? this.#additions().find(due);
  }

  #start(): Task | undefined {
    const { start } = this.#plan;
    if (start === undefined || this.#started === JSON.stringify(start)) return undefined;
    return { key: startKey, kind: 'start', what: 'config.Backend.PostStartupCommand', ...start };
  }

  #removals(): readonly Task[] {
    const wanted = new Set(this.#plan.peers.map(({ name }) => name));
    const gone = [...this.#done.values()].filter(({ peer }) => !wanted.has(peer.name));
    return gone.map(({ peer }) => peerTask('remove', this.#plan.remove ?? '', peer));
  }

  #additions(): readonly Task[] {
    const { add = '', peers } = this.#plan;
    return peers
      .map((peer) => peerTask('add', add, peer))
      .filter((task) => this.#done.get(task.key)?.text !== textOf(task));
  }

  async #try(task: Task): Promise<void> {
    const { key, what, command } = task;
    const { log, timeLimit } = this.#options;
    const text = textOf(task);
    // Even one that fails may have done a part of its work.
    if (task.kind === 'add' && task.peer !== undefined)
      this.#done.set(key, { peer: task.peer, text: undefined });
    try {
      // A peer without a command is taken note of, and that is all.
      if (command !== '') {
        const output = await runCommand({
          ...task,
          signal: this.#abort.signal,
          ...(timeLimit !== undefined && { timeLimit }),
        });
        log.info(`ran ${what}`, output === '' ? {} : { output });
      }
      this.#succeeded(task, text);
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      const problem = KerseyError.from(error);
      log.warn(problem.line);
      if (task.kind === 'remove') this.#succeeded(task, text);
      else this.#failed(key, problem, text);
    }
  }

  #succeeded({ key, kind, peer }: Task, text: string): void {
    this.#failures.delete(key);
    if (kind === 'start') this.#started = JSON.stringify(this.#plan.start);
    else if (kind === 'remove') this.#done.delete(key);
    else if (peer !== undefined) this.#done.set(key, { peer, text });
  }

  #failed(key: string, problem: KerseyError, text: string): void {
    const { from, to } = this.#options.retry ?? defaultRetry;
    const before = this.#failures.get(key);
    const times = before?.text === text ? before.times + 1 : 1;
    const wait = Math.min(to, from * 2 ** Math.min(times - 1, 30));
    this.#failures.set(key, { problem, times, text, again: performance.now() + wait });
  }
}

function peerTask(kind: 'add' | 'remove', command: string, peer: CommandPeer): Task {
  const { name, outer, variables, input } = peer;
  const member = kind === 'add' ? 'SubnetAddCommand' : 'SubnetRemoveCommand';
  const what = `config.Backend.${member} for ${name} of ${outer}`;
  return { key: name, kind, what, command, variables, input, peer };
}

function textOf({ kind, command, variables, input }: Task): string {
  return JSON.stringify([kind, command, variables, input]);
}
