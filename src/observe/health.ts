// /healthz and /readyz over HTTP, as flannel serves them: for load balancers, Kubernetes probes and the like.
//
//   /healthz          200 `flanneld is running`, as long as anybody answers
//   /readyz           200 `flanneld is ready` while the node forwards, else 503 `flanneld is not ready yet`
//   ?verbose          either of them with the reasons, as JSON; the status code is the same
//   /metrics          the same and more for Prometheus; 503 while there is no node yet
//   anything else     404
//
// A node whose store is away is degraded, and ready: it forwards. Unlike flannel's, readiness goes back when forwarding
// stops. Whoever reaches the port may ask, so the answer holds codes and no addresses; `kersey status` has the rest.

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { isIPv6 } from 'node:net';

import { KerseyError, errnoName, errnoText } from '../errors.ts';
import { metricsType } from './metrics.ts';

export interface Health {
  readonly state: 'starting' | 'ok' | 'degraded';
  /** Whether packets are forwarded and others were told of the subnet. */
  readonly ready: boolean;
  /** Codes of what is wrong now. */
  readonly problems: readonly string[];
}

/** What a slow or silent client gets. */
const patience = 5000;
const closeAfter = 3000;
const mostConnections = 100;

export class HealthServer {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** @throws KerseyError PORT_IN_USE, ADDRESS_NOT_LOCAL, PERMISSION, ADDRESS_INVALID */
  static async open(
    ip: string,
    port: number,
    health: () => Health,
    metrics: () => string | undefined = () => undefined,
  ): Promise<HealthServer> {
    const server = createServer(
      {
        headersTimeout: patience,
        requestTimeout: patience,
        keepAliveTimeout: patience,
        connectionsCheckingInterval: 1000,
      },
      (request, response) => {
        if (request.url?.split('?', 1)[0] === '/metrics') answerMetrics(response, metrics());
        else answer(request, response, health());
      },
    );
    server.maxConnections = mostConnections;
    try {
      server.listen(port, ip);
      await once(server, 'listening');
    } catch (error) {
      throw listenError(ip, port, error);
    }
    // What befalls the listening socket later is no reason to stop forwarding.
    server.on('error', () => undefined);
    return new HealthServer(server);
  }

  /** For whoever asked for any port. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Answers what was asked before, within reason. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => {
      this.#server.closeAllConnections();
    }, closeAfter);
    await closed;
    clearTimeout(timer);
  }
}

function answerMetrics(response: ServerResponse, text: string | undefined): void {
  response.writeHead(text === undefined ? 503 : 200, {
    'content-type': metricsType,
    'cache-control': 'no-store',
  });
  response.end(text ?? '');
}

function answer(request: IncomingMessage, response: ServerResponse, health: Health): void {
  const [path, query = ''] = (request.url ?? '').split('?', 2);
  const [status, text] =
    path === '/healthz'
      ? ([200, 'flanneld is running'] as const)
      : path === '/readyz'
        ? health.ready
          ? ([200, 'flanneld is ready'] as const)
          : ([503, 'flanneld is not ready yet'] as const)
        : ([404, '404 page not found\n'] as const);
  const verbose = status !== 404 && new URLSearchParams(query).has('verbose');
  response.writeHead(status, {
    'content-type': verbose ? 'application/json' : 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
  });
  response.end(verbose ? `${JSON.stringify({ message: text, ...health })}\n` : text);
}

function listenError(ip: string, port: number, cause: unknown): KerseyError {
  const where = `${isIPv6(ip) ? `[${ip}]` : ip}:${port}`;
  const failed = (code: KerseyError['code'], why: string, remedy: string): KerseyError =>
    new KerseyError(code, `health cannot be served on ${where}: ${why}`, { remedy, cause });
  switch (errnoName(cause)) {
    case 'EADDRINUSE':
      return failed(
        'PORT_IN_USE',
        'another program listens there',
        'choose another --healthz-port, or end that program',
      );
    case 'EADDRNOTAVAIL':
      return failed('ADDRESS_NOT_LOCAL', 'the address is on no interface', 'correct --healthz-ip');
    case 'EACCES':
      return failed(
        'PERMISSION',
        errnoText(cause),
        'run as root, or choose a --healthz-port of 1024 or more',
      );
    default:
      return failed('ADDRESS_INVALID', errnoText(cause), 'correct --healthz-ip');
  }
}
