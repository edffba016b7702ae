// One endpoint and its connection.
//
// The connection is made when a call first needs it. When it cannot be made gRPC tries again by itself, with back-off,
// and calls meanwhile fail at once with the reason: however many there are, nothing spins. One that stands and lets a
// call run into its deadline is replaced: TCP takes a quarter of an hour to notice that packets are dropped silently.
//
// One that hangs while it is being made is left to TCP, and replaced only after ten minutes: gRPC (1.14) has no way to
// give up such a socket, and each replacement would cost one. For the same reason a client that cannot connect is not
// closed and made anew: gRPC would connect once more, for nobody, and keep that.

import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, DescMethodBiDiStreaming, DescMethodUnary, MessageShape } from '@bufbuild/protobuf';
import { Client, connectivityState, Metadata } from '@grpc/grpc-js';
import type { ChannelOptions, ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { loadCredentials, parseEndpoint, serverName } from './options.ts';
import type { EndpointAddress, EtcdTls, LoadedCredentials } from './options.ts';
import { isAnswer } from './verdict.ts';

/** How recently an endpoint must have answered to be trusted with what must not get lost. */
const fresh = 1000;
/** How long a connection may take to be made. */
const patience = 10 * 60_000;
/** A range of everything below a prefix comes in one message. Its size is the cluster's choice, but not without end. */
const maxMessage = 128 * 1024 * 1024;

const channelOptions: ChannelOptions = {
  // etcd answers pings that come more often than every 5 s with GOAWAY `too_many_pings`, and pings without a call too.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5000,
  'grpc.keepalive_permit_without_calls': 0,
  'grpc.max_receive_message_length': maxMessage,
  'grpc.max_send_message_length': maxMessage,
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 2000,
  // What is repeated, and where, is decided in calls.ts.
  'grpc.enable_retries': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.use_local_subchannel_pool': 1,
  // A proxy for the web is not one for the store.
  'grpc.enable_http_proxy': 0,
};

export interface CallOptions {
  readonly timeoutMs: number;
  readonly token: string | undefined;
  readonly signal: AbortSignal;
}

export class Endpoint {
  readonly #address: EndpointAddress;
  readonly #tls: EtcdTls | undefined;
  #credentials: LoadedCredentials;
  #client: Client | undefined;
  #heard = -Infinity;
  #made = 0;

  /** @throws KerseyError USAGE */
  constructor(text: string, tls: EtcdTls | undefined) {
    this.#address = parseEndpoint(text);
    this.#tls = tls;
    this.#credentials = loadCredentials(this.#address, tls);
  }

  get name(): string {
    return this.#address.name;
  }

  /** Whether it answered over the connection that it has now, a moment ago. */
  get isFresh(): boolean {
    return performance.now() - this.#heard < fresh;
  }

  /** Rejects with a gRPC status, or with the signal's reason. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
    { timeoutMs, token, signal }: CallOptions,
  ): Promise<MessageShape<O>> {
    signal.throwIfAborted();
    const client = this.#connect();
    let cancel = (): void => undefined;
    try {
      const response = await new Promise<MessageShape<O>>((resolve, reject) => {
        const call = client.makeUnaryRequest<MessageShape<I>, MessageShape<O>>(
          ...wire(method),
          request,
          metadata(token),
          { deadline: Date.now() + timeoutMs },
          (error, value) => {
            if (error !== null) reject(error);
            else if (value === undefined) reject(new TypeError(`${method.name} answered with nothing`));
            else resolve(value);
          },
        );
        cancel = () => {
          call.cancel();
        };
        signal.addEventListener('abort', cancel, { once: true });
      });
      this.heard(client);
      return response;
    } catch (error) {
      signal.throwIfAborted();
      this.failed(client, error as ServiceError);
      throw error;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  /** A stream, and the connection that it is on. Whoever opens it cancels it. */
  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    token: string | undefined,
  ): { readonly call: ClientDuplexStream<MessageShape<I>, MessageShape<O>>; readonly client: Client } {
    const client = this.#connect();
    const call = client.makeBidiStreamRequest<MessageShape<I>, MessageShape<O>>(
      ...wire(method),
      metadata(token),
    );
    return { call, client };
  }

  /** Something came over this connection. */
  heard(client: Client): void {
    if (client === this.#client) this.#heard = performance.now();
  }

  /** A call over this connection failed. Unless it was the server that said so, something is wrong with it. */
  failed(client: Client, error: ServiceError | undefined): void {
    if (error !== undefined && isAnswer(error)) {
      this.heard(client);
    } else if (client === this.#client) {
      this.#heard = -Infinity;
      if (this.#renewCredentials() || this.#isStuck(client)) this.close();
    }
  }

  /** Calls that are under way go on to their end; the next call connects anew. */
  close(): void {
    this.#client?.close();
    this.#client = undefined;
    this.#heard = -Infinity;
  }

  #isStuck(client: Client): boolean {
    const state = client.getChannel().getConnectivityState(false);
    if (state === connectivityState.CONNECTING) return performance.now() - this.#made > patience;
    return state === connectivityState.READY;
  }

  #connect(): Client {
    if (this.#client !== undefined) return this.#client;
    const { host, port } = this.#address;
    const name = serverName(this.#address);
    this.#made = performance.now();
    this.#client = new Client(`dns:${host}:${port}`, this.#credentials.channel, {
      ...channelOptions,
      ...(name !== undefined && { 'grpc.ssl_target_name_override': name }),
    });
    return this.#client;
  }

  /** Whether the certificate files are others than before. Half-written ones are not, yet. */
  #renewCredentials(): boolean {
    try {
      const now = loadCredentials(this.#address, this.#tls);
      if (now.fingerprint === this.#credentials.fingerprint) return false;
      this.#credentials = now;
      return true;
    } catch {
      return false;
    }
  }
}

type Codec<I extends DescMessage, O extends DescMessage> = readonly [
  path: string,
  serialize: (message: MessageShape<I>) => Buffer,
  deserialize: (bytes: Buffer) => MessageShape<O>,
];

function wire<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O> | DescMethodBiDiStreaming<I, O>,
): Codec<I, O> {
  return [
    `/${method.parent.typeName}/${method.name}`,
    (message) => Buffer.from(toBinary(method.input, message)),
    (bytes) => fromBinary(method.output, bytes),
  ];
}

/** `hasleader`: a member that is cut off from the others says so instead of waiting. */
function metadata(token: string | undefined): Metadata {
  const result = new Metadata();
  result.set('hasleader', 'true');
  if (token !== undefined) result.set('token', token);
  return result;
}
