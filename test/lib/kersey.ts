// Runs the command line of this checkout.

import { spawn } from 'node:child_process';
import { nodeCommand } from '../../src/lab/self.ts';

export interface KerseyRun {
  readonly pid: number;
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface KerseyOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** What to put before the command: `setpriv ...`. */
  readonly under?: readonly string[];
  /** Called with all of stderr so far whenever it grew; may signal the process. */
  readonly onStderr?: (text: string, kill: (signal: NodeJS.Signals) => void, pid: number) => void;
  /** Called when the process has started. */
  readonly onStart?: (kill: (signal: NodeJS.Signals) => void) => void;
}

export function runKersey(args: readonly string[], options: KerseyOptions = {}): Promise<KerseyRun> {
  // The test runner puts its hooks into NODE_OPTIONS of every child; the program is tested without them.
  const [file = '', ...rest] = [
    ...['/usr/bin/env', '-u', 'NODE_OPTIONS', ...(options.under ?? [])],
    ...[...nodeCommand('cli/main'), ...args],
  ];
  return new Promise((resolve, reject) => {
    const child = spawn(file, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
    });
    const kill = (signal: NodeJS.Signals): void => {
      child.kill(signal);
    };
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
      options.onStderr?.(stderr, kill, child.pid ?? 0);
    });
    child.on('error', reject);
    child.on('spawn', () => options.onStart?.(kill));
    child.on('close', (exitCode, signal) => {
      resolve({ pid: child.pid ?? 0, exitCode, signal, stdout, stderr });
    });
  });
}
