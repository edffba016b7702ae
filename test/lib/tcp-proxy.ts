// A TCP relay on loopback that fails on demand, the ways networks do.
//
// Words: "cut" resets what is connected; "black hole" forwards nothing and says nothing, neither bytes nor the end of a
// connection, and what was sent meanwhile arrives after "heal", as TCP's retransmissions would have it; "refuse" lets
// nobody connect.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

export class TcpProxy {
  /** How many connections were ever accepted. */
  accepted = 0;
  readonly port: number;
  readonly #target: number;
  readonly #pairs = new Set<Pair>();
  #server: Server;
  #swallowing = false;

  private constructor(server: Server, target: number) {
    this.#server = server;
    this.#target = target;
    this.port = (server.address() as AddressInfo).port;
    this.#serve();
  }

  /** @param target port on 127.0.0.1 */
  static async open(target: number): Promise<TcpProxy> {
    return new TcpProxy(await listen(0), target);
  }

  get connections(): number {
    return this.#pairs.size;
  }

  cut(): void {
    for (const pair of this.#pairs) pair.reset();
  }

  blackHole(): void {
    this.#swallowing = true;
    for (const pair of this.#pairs) pair.hold();
  }

  /** Requests still get through, answers do not. */
  loseAnswers(): void {
    for (const pair of this.#pairs) pair.holdAnswers();
  }

  heal(): void {
    this.#swallowing = false;
    for (const pair of this.#pairs) pair.release();
  }

  /** Cuts, and refuses connections from now on. */
  async refuse(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    await closed;
  }

  /** Accepts connections again. */
  async accept(): Promise<void> {
    this.#server = await listen(this.port);
    this.#serve();
  }

  async close(): Promise<void> {
    if (this.#server.listening) await this.refuse();
  }

  #serve(): void {
    this.#server.on('connection', (client) => {
      this.accepted++;
      const pair = new Pair(client, this.#target);
      this.#pairs.add(pair);
      pair.onClose = () => {
        this.#pairs.delete(pair);
      };
      if (this.#swallowing) pair.hold();
      else pair.release();
    });
  }
}

async function listen(port: number): Promise<Server> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** A client and its connection to the target, which is made when the first byte may flow. */
class Pair {
  onClose: () => void = () => undefined;
  readonly #client: Socket;
  readonly #target: number;
  #upstream: Socket | undefined;

  constructor(client: Socket, target: number) {
    this.#client = client;
    this.#target = target;
    this.#watch(client);
  }

  release(): void {
    if (this.#upstream === undefined) {
      this.#upstream = connect({ port: this.#target, host: '127.0.0.1', allowHalfOpen: true });
      this.#watch(this.#upstream);
    }
    this.#client.pipe(this.#upstream);
    this.#upstream.pipe(this.#client);
  }

  hold(): void {
    this.#client.unpipe();
    this.#client.pause();
    this.#upstream?.unpipe();
    this.#upstream?.pause();
  }

  holdAnswers(): void {
    this.#upstream?.unpipe();
    this.#upstream?.pause();
  }

  reset(): void {
    this.#client.resetAndDestroy();
    this.#upstream?.resetAndDestroy();
    this.onClose();
  }

  #watch(socket: Socket): void {
    socket.setNoDelay(true);
    socket.on('error', () => {
      this.reset();
    });
    socket.on('close', () => {
      this.reset();
    });
  }
}
