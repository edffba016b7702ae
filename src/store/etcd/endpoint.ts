// One endpoint and its connection.
//
// The connection is made when a call needs it. One that failed, or let a call run into its deadline, is not used again:
// TCP takes a quarter of an hour to notice that packets are dropped silently. gRPC's own reconnecting is thereby never
// at work: nobody connects but for a call.

import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, DescMethodBiDiStreaming, DescMethodUnary, MessageShape } from '@bufbuild/protobuf';
import { Client, Metadata } from '@grpc/grpc-js';
import type { ChannelCredentials, ChannelOptions, ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { channelCredentials, parseEndpoint, serverName } from './options.ts';
import type { EndpointAddress, EtcdTls } from './options.ts';
import { isAnswer } from './verdict.ts';

/** How recently an endpoint must have answered to be trusted with what must not get lost. */
const fresh = 1000;
/** A range of everything below a prefix comes in one message. Its size is the cluster's choice, but not without end. */
const maxMessage = 128 * 1024 * 1024;

const channelOptions: ChannelOptions = {
  // etcd answers pings that come more often than every 5 s with GOAWAY `too_many_pings`, and pings without a call too.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5000,
  'grpc.keepalive_permit_without_calls': 0,
  'grpc.max_receive_message_length': maxMessage,
  'grpc.max_send_message_length': maxMessage,
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
  #credentials: ChannelCredentials;
  #client: Client | undefined;
  #heard = -Infinity;

  /** @throws KerseyError USAGE */
  constructor(text: string, tls: EtcdTls | undefined) {
    this.#address = parseEndpoint(text);
    this.#tls = tls;
    this.#credentials = channelCredentials(this.#address, tls);
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

  /** A call over this connection failed; unless it was the server that said so, the connection is given up. */
  failed(client: Client, error: ServiceError | undefined): void {
    if (error !== undefined && isAnswer(error)) this.heard(client);
    else if (client === this.#client) this.close();
  }

  /** Calls that are under way go on to their end; the next call connects anew. */
  close(): void {
    this.#client?.close();
    this.#client = undefined;
    this.#heard = -Infinity;
  }

  #connect(): Client {
    if (this.#client !== undefined) return this.#client;
    const { host, port } = this.#address;
    const name = serverName(this.#address);
    this.#client = new Client(`dns:${host}:${port}`, this.#newCredentials(), {
      ...channelOptions,
      ...(name !== undefined && { 'grpc.ssl_target_name_override': name }),
    });
    return this.#client;
  }

  /** Of the files as they are now; while somebody is just writing them, those of the last time. */
  #newCredentials(): ChannelCredentials {
    try {
      this.#credentials = channelCredentials(this.#address, this.#tls);
    } catch {
      // If the old ones do not work any more, the connection says so.
    }
    return this.#credentials;
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
