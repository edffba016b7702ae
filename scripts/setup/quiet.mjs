// @ts-check
// Running a command so that its output is seen only when it failed.

import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** One short line on what set-up is doing. On stderr, so that `-o json` on stdout stays JSON. @param {string} what */
export function say(what) {
  process.stderr.write(`set-up: ${what}\n`);
}

/**
 * Runs a command to its end with stdin closed and both outputs in one file, in the order they were written.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, quiet?: boolean }} [options] `quiet`: silent even on failure
 * @returns {boolean} whether it exited 0
 */
export function runQuietly(command, args, { cwd, env, quiet = false } = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), 'kersey-setup-'));
  try {
    const log = path.join(folder, 'output');
    const fd = openSync(log, 'a');
    const { status, signal, error } = spawnSync(command, args, { cwd, env, stdio: ['ignore', fd, fd] });
    closeSync(fd);
    if (status === 0) return true;
    if (!quiet) {
      const how = error?.message ?? (signal === null ? `exit ${String(status)}` : `signal ${signal}`);
      process.stderr.write(readFileSync(log, 'utf8'));
      process.stderr.write(`${[command, ...args].join(' ')}: ${how}\n`);
    }
    return false;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
