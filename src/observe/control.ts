// The control socket: one line in, one line of JSON out, and the daemon hangs up.
//
//   status                          its status
//   dataplane auto|engine|kernel    changes over, and answers with the status then
//
// What is refused is answered as {"error": {"code", "message", "remedy"}}.
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
/** To change over takes longer: thousands of peers have to be told to the kernel. */
const changeTimeout = 30_000;
/** One that starts holds the directory for a few milliseconds. */
const lockTimeout = 5000;
/** In characters. */
const longestRequest = 200;
/** sun_path is 108 bytes, the last of them zero. */
const longestPath = 107;

/** Where the daemons of this network namespace have their sockets. */
export function controlDirectory(runDir: string): string {
  return path.join(path.resolve(runDir), String(statSync('/proc/self/ns/net').ino));
}

/** What a daemon does when it is asked; undefined while it starts. */
export interface ControlHandlers {
  readonly status: () => Status | undefined;
  /** @throws KerseyError */
  readonly setDataplane: (wish: Status['dataplane']['wish']) => Status | undefined;
}

interface Refusal {
  readonly error: ReturnType<KerseyError['toJSON']>;
}

const wishes = ['auto', 'engine', 'kernel'] as const;

function answer(request: string, handlers: ControlHandlers): Status | Refusal | undefined {
  try {
    const [verb = '', word] = request.trim().split(/\s+/);
    if (verb === 'status' && word === undefined) return handlers.status();
    const wish = wishes.find((name) => name === word);
    if (verb === 'dataplane' && wish !== undefined) return handlers.setDataplane(wish);
    throw new KerseyError('USAGE', `the daemon does not know the request '${request}'`, {
      remedy: 'use the kersey command of the same version',
    });
  } catch (error) {
    return { error: KerseyError.from(error).toJSON() };
  }
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
   * @throws KerseyError DAEMON_RUNNING, FILE_UNWRITABLE, PERMISSION
   */
  static async open(runDir: string, device: string, handlers: ControlHandlers): Promise<ControlServer> {
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
        return await ControlServer.#listen(file, handlers);
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

  static async #listen(file: string, handlers: ControlHandlers): Promise<ControlServer> {
    const server = createServer();
    const control = new ControlServer(file, server);
    server.on('connection', (socket) => {
      control.#serve(socket, handlers);
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

  #serve(socket: Socket, handlers: ControlHandlers): void {
    this.#connections.add(socket);
    socket.on('close', () => this.#connections.delete(socket));
    // Who asked and went away has no need of an answer.
    socket.on('error', () => socket.destroy());
    socket.setTimeout(answerTimeout, () => socket.destroy());
    let request = '';
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      request += text;
      if (request.length > longestRequest) socket.destroy();
      const end = request.indexOf('\n');
      if (end < 0 || socket.writableEnded) return;
      const reply = answer(request.slice(0, end), handlers);
      socket.end(reply === undefined ? '' : `${JSON.stringify(reply)}\n`);
    });
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
  return askAll(runDir, 'status');
}

/** Has every daemon of this network namespace change over. @throws KerseyError as askDaemons, and why it cannot be */
export async function setDataplane(
  runDir: string,
  wish: Status['dataplane']['wish'],
): Promise<readonly Status[]> {
  return askAll(runDir, `dataplane ${wish}`);
}

async function askAll(runDir: string, request: string): Promise<readonly Status[]> {
  const directory = controlDirectory(runDir);
  const answers = await Promise.all(
    socketsIn(directory).map((name) => askDaemon(path.join(directory, name), request)),
  );
  const statuses = answers.filter((reply) => reply !== undefined);
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
export async function askDaemon(file: string, request = 'status'): Promise<Status | undefined> {
  const chunks: Buffer[] = [];
  const socket = connect(file);
  socket.write(`${request}\n`);
  socket.setTimeout(request === 'status' ? answerTimeout : changeTimeout, () => {
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
  if (chunks.length === 0) return undefined;
  const reply = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Status | Refusal;
  if (!('error' in reply)) return reply;
  const { code, message, remedy } = reply.error;
  throw new KerseyError(code, message, { remedy });
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
