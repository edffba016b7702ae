// The control socket: a daemon answers each connection with its status, as one line of JSON, and closes it.
//
//   <run-dir>/<inode of the network namespace>/<device>.sock      mode 0600
//
// By the namespace, so that `ip netns exec h1 kersey status` finds the daemon of h1 among those that share the file
// system. A socket file outlives a killed daemon; nobody answers there, and the next daemon replaces it. Two daemons
// that start together are kept apart by a lock on the directory for as long as they look.

import { closeSync, openSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { makeDirectory } from '../directory.ts';
import { errnoName, errnoText, KerseyError } from '../errors.ts';
import { native } from '../native/loader.ts';
import type { Status } from './status.ts';

/** A daemon that is asked for its status answers within this time, or it hangs. */
const answerTimeout = 3000;
/** One that starts holds the directory for a few milliseconds. */
const lockTimeout = 5000;
/** sun_path is 108 bytes, the last of them zero. */
const longestPath = 107;

/** Where the daemons of this network namespace have their sockets. */
export function controlDirectory(runDir: string): string {
  return path.join(path.resolve(runDir), String(statSync('/proc/self/ns/net').ino));
}

export class ControlServer {
  readonly path: string;
  readonly #server: Server;
  readonly #connections = new Set<Socket>();

  private constructor(file: string, server: Server) {
    this.path = file;
    this.#server = server;
  }

  /**
   * `status` may answer undefined while there is none yet.
   * @throws KerseyError DAEMON_RUNNING, FILE_UNWRITABLE, PERMISSION
   */
  static async open(
    runDir: string,
    device: string,
    status: () => Status | undefined,
  ): Promise<ControlServer> {
    const directory = controlDirectory(runDir);
    const file = path.join(directory, `${device}.sock`);
    if (Buffer.byteLength(file) > longestPath) {
      throw new KerseyError('USAGE', `the path of the control socket is too long: ${file}`, {
        remedy: 'choose a shorter --run-dir',
      });
    }
    try {
      makeDirectory(directory);
      return await withLock(directory, async () => {
        if (await isAnswered(file)) {
          throw new KerseyError('DAEMON_RUNNING', `a daemon for ${device} already runs here (${file})`, {
            remedy: 'see `kersey status`; stop it first, or use another VNI',
          });
        }
        rmSync(file, { force: true });
        return await ControlServer.#listen(file, status);
      });
    } catch (cause) {
      if (cause instanceof KerseyError) throw cause;
      const code =
        errnoName(cause) === 'EACCES' || errnoName(cause) === 'EPERM' ? 'PERMISSION' : 'FILE_UNWRITABLE';
      throw new KerseyError(code, `cannot make the control socket ${file}: ${errnoText(cause)}`, {
        remedy:
          code === 'PERMISSION' ? 'run as root, or choose another --run-dir' : 'choose another --run-dir',
        cause,
      });
    }
  }

  static async #listen(file: string, status: () => Status | undefined): Promise<ControlServer> {
    const server = createServer();
    const control = new ControlServer(file, server);
    server.on('connection', (socket) => {
      control.#answer(socket, status);
    });
    // Only the bits of the umask keep others out in the moment between bind and chmod.
    const umask = process.umask(0o177);
    try {
      server.listen(file);
    } finally {
      process.umask(umask);
    }
    await once(server, 'listening');
    return control;
  }

  #answer(socket: Socket, status: () => Status | undefined): void {
    this.#connections.add(socket);
    socket.on('close', () => this.#connections.delete(socket));
    // Who asked and went away has no need of an answer.
    socket.on('error', () => socket.destroy());
    const answer = status();
    socket.end(answer === undefined ? '' : `${JSON.stringify(answer)}\n`);
  }

  async close(): Promise<void> {
    for (const socket of this.#connections) socket.destroy();
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close(); // removes the file
    await closed;
    try {
      rmdirSync(path.dirname(this.path));
    } catch {
      // Another daemon of this namespace has its socket there.
    }
  }
}

/**
 * The status of every daemon of this network namespace.
 * @throws KerseyError DAEMON_NOT_RUNNING, PERMISSION
 */
export async function askDaemons(runDir: string): Promise<readonly Status[]> {
  const directory = controlDirectory(runDir);
  const answers = await Promise.all(
    socketsIn(directory).map((name) => askDaemon(path.join(directory, name))),
  );
  const statuses = answers.filter((answer) => answer !== undefined);
  if (statuses.length > 0) return statuses;
  throw new KerseyError('DAEMON_NOT_RUNNING', `no daemon answers in this network namespace (${directory})`, {
    remedy: 'start one with `kersey up --store file:PATH`, or name its --run-dir',
  });
}

function socketsIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
      .filter((name) => name.endsWith('.sock'))
      .sort();
  } catch (error) {
    if (errnoName(error) === 'ENOENT') return [];
    throw error;
  }
}

/** One daemon by its socket. undefined when nobody listens. */
export async function askDaemon(file: string): Promise<Status | undefined> {
  const chunks: Buffer[] = [];
  const socket = connect(file);
  socket.setTimeout(answerTimeout, () => {
    socket.destroy(
      new KerseyError('TIMEOUT', `the daemon at ${file} does not answer`, { remedy: 'restart it' }),
    );
  });
  try {
    for await (const chunk of socket) chunks.push(chunk as Buffer);
  } catch (error) {
    const name = errnoName(error);
    if (name === 'ECONNREFUSED' || name === 'ENOENT') return undefined;
    if (name !== 'EACCES') throw error;
    throw new KerseyError('PERMISSION', `the control socket ${file} belongs to another user`, {
      remedy: 'run as root',
      cause: error,
    });
  }
  // One that is starting or stopping in this moment hangs up without a word.
  return chunks.length === 0 ? undefined : (JSON.parse(Buffer.concat(chunks).toString('utf8')) as Status);
}

async function isAnswered(file: string): Promise<boolean> {
  const socket = connect(file);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function withLock<T>(directory: string, action: () => Promise<T>): Promise<T> {
  const fd = openSync(directory, 'r');
  try {
    const deadline = performance.now() + lockTimeout;
    while (!native().tryLock(fd)) {
      if (performance.now() > deadline) {
        throw new KerseyError('DAEMON_RUNNING', `another daemon is starting (it holds ${directory})`, {
          remedy: 'wait for it, or end it',
        });
      }
      await delay(10);
    }
    return await action();
  } finally {
    closeSync(fd);
  }
}
