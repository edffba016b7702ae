// Runs nft, iptables and their kin: without a shell, never longer than `patience`, in plain English.

import { spawn } from 'node:child_process';

import { errnoName, errnoText, KerseyError } from '../errors.ts';

export interface ToolResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
}

export interface ToolOptions {
  readonly input?: string;
  readonly signal?: AbortSignal | undefined;
}

/** In milliseconds. These programs take some; more is a lock that somebody keeps, or a host in distress. */
const patience = 10_000;
/** No ruleset is larger, in characters. */
const mostOutput = 1 << 28;

const packages: Readonly<Record<string, string>> = { nft: 'nftables' };

/** @returns also when the program fails; its `code` tells. @throws KerseyError TOOL_MISSING, TIMEOUT, INTERRUPTED */
export function runTool(
  argv: readonly string[],
  { input = '', signal }: ToolOptions = {},
): Promise<ToolResult> {
  const [file = '', ...rest] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(file, rest, {
      ...{ env: environment(), killSignal: 'SIGKILL' },
      ...(signal !== undefined && { signal }),
    });
    // Not spawn's own `timeout`: Node 20 leaves that timer running, and the process with it, when a program is missing.
    const timer = setTimeout(() => child.kill('SIGKILL'), patience);
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      if (stdout.length > mostOutput) child.kill('SIGKILL');
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(0, 65_536);
    });
    // A program may end without reading its input.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    child.on('error', (cause) => {
      clearTimeout(timer);
      reject(failedToRun(file, cause));
    });
    child.on('close', (code, endedBy) => {
      clearTimeout(timer);
      if (code !== null) resolve({ stdout, stderr, code });
      else {
        const message = `'${argv.join(' ')}' was ended by ${String(endedBy)}; it is given ${patience / 1000} s`;
        reject(new KerseyError('TIMEOUT', message, { remedy: 'see who holds /run/xtables.lock' }));
      }
    });
  });
}

/** What it said last when it failed, in one line. */
export function lastWords({ stdout, stderr, code }: ToolResult): string {
  const lines = (stderr.trim() === '' ? stdout : stderr).split('\n').map((line) => line.trim());
  const said = lines.filter((line) => line !== '' && !/^[\^~ ]+$/.test(line) && !line.startsWith('Try `'));
  return said.slice(0, 3).join(' | ') || `it ended with code ${code}`;
}

function failedToRun(file: string, cause: Error): KerseyError {
  if (errnoName(cause) === 'ENOENT') {
    const remedy = `install it (Debian: apt-get install ${packages[file] ?? 'iptables'})`;
    return new KerseyError('TOOL_MISSING', `the program '${file}' is not installed`, { remedy, cause });
  }
  if (cause.name === 'AbortError') return KerseyError.from(cause);
  return new KerseyError('COMMAND_FAILED', `cannot run '${file}': ${errnoText(cause)}`, { cause });
}

/** These programs live where the PATH of a service need not lead. */
function environment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: 'C', PATH: `${process.env['PATH'] ?? '/usr/bin:/bin'}:/usr/sbin:/sbin` };
}
