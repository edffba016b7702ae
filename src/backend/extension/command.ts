// Runs one command of the extension backend: without a shell, in a process group of its own, never longer than it may.
//
// It is over when its process has ended. What it started and left behind may live on, and is not waited for, as long as
// its output leads elsewhere. At the end of its time, and when we are told to stop, the whole group is killed.

import { spawn } from 'node:child_process';
import type { ChildProcess, ChildProcessWithoutNullStreams } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';

import { errnoName, errnoText, KerseyError } from '../../errors.ts';
import { commandWords } from './words.ts';

/** Everything that a command may be told; the ones without a value are taken out of our own environment too. */
export const variables = ['NETWORK', 'SUBNET', 'IPV6SUBNET', 'PUBLIC_IP', 'PUBLIC_IPV6'] as const;
export type Variables = Readonly<Partial<Record<(typeof variables)[number], string>>>;

export interface CommandRun {
  /** The member of config.Backend, and for whom: `SubnetAddCommand for 10.5.2.0/24 of 192.168.0.2`. */
  readonly what: string;
  readonly command: string;
  readonly variables?: Variables;
  readonly input?: string;
  readonly signal: AbortSignal;
  /** In milliseconds. */
  readonly timeLimit?: number;
}

export const defaultTimeLimit = 30_000;
/** Characters of output that are kept. */
const mostOutput = 65_536;
/** For output that is still on its way when the process has ended, in milliseconds. */
const lastOutput = 200;

/**
 * @returns what it wrote to stdout and stderr, trimmed
 * @throws KerseyError COMMAND_FAILED, INTERRUPTED
 */
export async function runCommand(run: CommandRun): Promise<string> {
  const { what, command, signal, timeLimit = defaultTimeLimit } = run;
  signal.throwIfAborted();
  const environment = environmentOf(run.variables ?? {});
  const [file, ...rest] = commandWords(command, environment);
  if (file === undefined || file === '') {
    throw failed(what, `'${command}' names no program`);
  }
  const child = start(what, file, rest, environment);
  const output = collect(child, run.input);
  const time = { over: false };
  const kill = (): void => {
    killGroup(child);
  };
  const timer = setTimeout(() => {
    time.over = true;
    kill();
  }, timeLimit);
  signal.addEventListener('abort', kill, { once: true });
  try {
    const end = await ended(child);
    signal.throwIfAborted();
    if (time.over) throw failed(what, `it had not ended after ${timeLimit / 1000} s`, output());
    if (end instanceof Error) throw failed(what, startError(file, end), '', end);
    if (end !== 'code 0') throw failed(what, `it ended with ${end}`, output());
    return output();
  } catch (error) {
    throw error instanceof KerseyError ? error : interrupted(what, error);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', kill);
    child.stdin.destroy();
    child.stdout.destroy();
    child.stderr.destroy();
  }
}

function environmentOf(given: Variables): NodeJS.ProcessEnv {
  const cleared = Object.fromEntries(variables.map((variable) => [variable, undefined]));
  return { ...process.env, ...cleared, ...given };
}

function start(
  what: string,
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): ChildProcessWithoutNullStreams {
  try {
    return spawn(file, args, { env, detached: true });
  } catch (error) {
    // Words that are too long, or have a zero byte in them.
    throw failed(what, startError(file, KerseyError.from(error)), '', error);
  }
}

/** Feeds the input, and remembers what comes out. */
function collect(child: ChildProcessWithoutNullStreams, input: string | undefined): () => string {
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (more: string) => {
      text = (text + more).slice(0, mostOutput);
    });
  }
  // A program may end without reading its input.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input ?? '');
  return () => text.trim();
}

/** @returns `code 1`, `signal SIGTERM`, or why it could not be started */
async function ended(child: ChildProcess): Promise<string | Error> {
  const closed = new Promise<void>((resolve) =>
    child.once('close', () => {
      resolve();
    }),
  );
  const end = await new Promise<string | Error>((resolve) => {
    child.once('error', resolve);
    child.once('exit', (code, signal) => {
      resolve(code === null ? `signal ${String(signal)}` : `code ${code}`);
    });
  });
  // Whatever it left running may hold its output open for ever.
  if (!(end instanceof Error)) await Promise.race([closed, delay(lastOutput, undefined, { ref: false })]);
  return end;
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended in this very moment.
  }
}

function startError(file: string, error: Error): string {
  if (errnoName(error) === 'ENOENT') return `there is no program '${file}'`;
  return `'${file}' cannot be run: ${errnoText(error)}`;
}

function failed(what: string, why: string, output = '', cause?: unknown): KerseyError {
  const said = output.split('\n').slice(-3).join(' | ').slice(-500);
  return new KerseyError('COMMAND_FAILED', `${what}: ${why}${said === '' ? '' : `: ${said}`}`, {
    remedy: 'see config.Backend; commands run without a shell, so what needs one belongs into a script',
    ...(cause !== undefined && { cause }),
  });
}

function interrupted(what: string, cause: unknown): KerseyError {
  return new KerseyError('INTERRUPTED', `${what} was stopped before it had ended`, { cause });
}
