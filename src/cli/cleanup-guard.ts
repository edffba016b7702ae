// Keeps cleaning up and daemons apart: nothing is removed under a daemon, and none starts meanwhile.

import { once } from 'node:events';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';

import { errnoName, KerseyError } from '../errors.ts';
import { native } from '../native/loader.ts';
import { controlDirectory } from '../observe/control.ts';

/**
 * Takes the lock that daemons of this network namespace take to start.
 *
 * @returns how to give it back
 * @throws KerseyError DAEMON_RUNNING
 */
export async function holdRunDirectory(runDir: string): Promise<() => void> {
  const directory = controlDirectory(runDir);
  const fd = openDirectory(directory);
  // No daemon was ever here.
  if (fd === undefined) return () => undefined;
  try {
    if (!native().tryLock(fd)) {
      throw new KerseyError(
        'DAEMON_RUNNING',
        `a daemon is starting in this network namespace (it holds ${directory})`,
        {
          remedy: 'stop it first',
        },
      );
    }
    for (const name of readdirSync(directory).filter((one) => one.endsWith('.sock'))) {
      const file = path.join(directory, name);
      if (await isAnswered(file)) {
        const message = `a daemon runs in this network namespace (${file})`;
        throw new KerseyError('DAEMON_RUNNING', message, {
          remedy: 'stop it first: it would put everything back',
        });
      }
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return () => {
    closeSync(fd);
  };
}

function openDirectory(directory: string): number | undefined {
  try {
    return openSync(directory, 'r');
  } catch (error) {
    if (errnoName(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Also by one that hangs: its socket takes connections as long as it lives. */
async function isAnswered(file: string): Promise<boolean> {
  const socket = connect(file);
  try {
    await once(socket, 'connect');
    return true;
  } catch (error) {
    if (
      errnoName(error) === 'ECONNREFUSED' ||
      errnoName(error) === 'ENOENT' ||
      errnoName(error) === 'ENOTSOCK'
    ) {
      return false;
    }
    throw error;
  } finally {
    socket.destroy();
  }
}
