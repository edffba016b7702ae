// Runs `wg`, which configures a WireGuard device whoever made it. Keys go in by its standard input only.

import { spawnSync } from 'node:child_process';
import type { SpawnSyncReturns } from 'node:child_process';
import { closeSync, writeSync } from 'node:fs';

import { KerseyError, errnoName, errnoText } from '../../errors.ts';
import { openUnnamedFile } from './unnamed-file.ts';

/** For one run, in milliseconds: more means that wireguard-go does not answer. */
const patience = 3000;
const installed = 'install it (Debian: apt-get install wireguard-tools)';

/** Runs `wg`. What it shall read as /dev/stdin it has to be able to open, which a pipe of Node's (a socket) is not. */
export function wg(args: readonly string[], input?: string): SpawnSyncReturns<string> {
  const stdin = input === undefined ? undefined : openUnnamedFile();
  try {
    if (stdin !== undefined && input !== undefined) writeSync(stdin, input);
    return spawnSync('wg', args, {
      ...{ encoding: 'utf8', env: environment(), timeout: patience, killSignal: 'SIGKILL' },
      stdio: [stdin ?? 'ignore', 'pipe', 'pipe'],
      // A peer is a line of 150 characters.
      maxBuffer: 1 << 28,
    });
  } finally {
    if (stdin !== undefined) closeSync(stdin);
  }
}

/** @throws KerseyError when it fails */
export function must(args: readonly string[], input?: string): void {
  const result = wg(args, input);
  if (result.status !== 0) throw wgFailed(args.slice(0, 2).join(' '), result);
}

export function wgFailed(what: string, { error, stderr, stdout }: SpawnSyncReturns<string>): KerseyError {
  if (errnoName(error) === 'ENOENT') {
    return new KerseyError('TOOL_MISSING', "the program 'wg' is not installed", {
      remedy: installed,
      cause: error,
    });
  }
  const said = (stderr.trim() === '' ? stdout : stderr).trim().split('\n').slice(-2).join(' | ');
  // What it cannot read it quotes, and that may be a key.
  const why = error === undefined ? said.replace(/[A-Za-z0-9+/]{43}=/g, '(a key)') : errnoText(error);
  return new KerseyError('COMMAND_FAILED', `'wg ${what}' failed: ${why}`, {
    remedy: 'see `wg show`; what it says is tried again',
    ...(error !== undefined && { cause: error }),
  });
}

/** Before anything is made that could not be configured. @throws KerseyError TOOL_MISSING */
export function requireWg(): void {
  const { error } = wg(['--version']);
  if (errnoName(error) !== 'ENOENT') return;
  throw new KerseyError(
    'TOOL_MISSING',
    "the program 'wg' is not installed, which configures WireGuard devices",
    {
      remedy:
        'install it (Debian: apt-get install wireguard-tools), and wireguard-go where the kernel has no wireguard',
      cause: error,
    },
  );
}

/** These programs live where the PATH of a service need not lead. */
export function environment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: 'C', PATH: `${process.env['PATH'] ?? '/usr/bin:/bin'}:/usr/sbin:/sbin` };
}
