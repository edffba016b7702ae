// One watch on one stream to one endpoint, until something is wrong with it.
//
// Large answers come in fragments (`fragment: true`), because gRPC limits a message; only a whole answer is passed on,
// and etcd does not break a revision over two of them.
//
// Packets that are dropped silently, and a member that is stopped, look like a quiet store. So when nothing was heard
// for a while we ask for progress (WatchProgressRequest, etcd 3.4 and newer), which is answered at once, and give the
// stream up when it is not. gRPC's keepalive would take 15 s: etcd does not allow pings often enough. The revision in
// that answer is not used: before 3.4.25 and 3.5.8 it may overtake events that are still on their way (etcd #15220).
//
// Nothing is read ahead for a reader who does not come: gRPC's flow control then holds the server, whose silence counts
// for nothing, since only a waiting reader measures it.

import { create } from '@bufbuild/protobuf';
import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { Endpoint } from './endpoint.ts';
import { Watch, WatchRequestSchema } from './gen/etcd_pb.ts';
import type { ResponseHeader, WatchRequest, WatchResponse } from './gen/etcd_pb.ts';
import type { WatchEvent } from './kv.ts';
import { rangeOf, watchEvents } from './messages.ts';
import type { EtcdTiming } from './options.ts';
import { isServiceError } from './verdict.ts';

export type StreamMessage =
  | { readonly kind: 'created'; readonly header: ResponseHeader | undefined }
  | { readonly kind: 'events'; readonly events: readonly WatchEvent[] }
  | { readonly kind: 'compacted'; readonly compactRevision: bigint };

/** The server ended the watch, or says nothing any more. */
export class WatchEnded extends Error {
  override readonly name = 'WatchEnded';
}

export interface WatchStreamRequest {
  readonly prefix: string;
  readonly fromRevision: bigint;
  readonly token: string | undefined;
  readonly timing: EtcdTiming;
  readonly signal: AbortSignal;
}

/** Ends after 'compacted' and when the signal aborts; throws a gRPC status or WatchEnded. */
export async function* watchStream(
  endpoint: Endpoint,
  { prefix, fromRevision, token, timing, signal }: WatchStreamRequest,
): AsyncGenerator<StreamMessage, void, undefined> {
  const aborted = (): boolean => signal.aborted;
  if (aborted()) return;
  const { call, client } = endpoint.stream(Watch.method.watch, token);
  const responses = new Responses(call);
  const cancel = (): void => {
    call.cancel();
  };
  signal.addEventListener('abort', cancel, { once: true });
  try {
    send(call, {
      case: 'createRequest',
      value: { ...rangeOf(prefix), startRevision: fromRevision, progressNotify: true, fragment: true },
    });
    let created = false;
    let parts: WatchEvent[] = [];
    let asked = false;
    for (;;) {
      const wait = !created ? timing.attempt : asked ? timing.silence - timing.probe : timing.probe;
      const response = await responses.next(wait);
      if (response === 'silence') {
        if (asked || !created)
          throw new WatchEnded(`no answer within ${seconds(asked ? timing.silence : wait)} s`);
        send(call, { case: 'progressRequest', value: {} });
        asked = true;
        continue;
      }
      asked = false;
      endpoint.heard(client);
      if (response.compactRevision > 0n) {
        yield { kind: 'compacted', compactRevision: response.compactRevision };
        return;
      }
      if (response.canceled) throw new WatchEnded(response.cancelReason || 'the server ended the watch');
      if (response.created) {
        created = true;
        yield { kind: 'created', header: response.header };
      }
      parts = parts.concat(watchEvents(response.events));
      if (response.fragment || parts.length === 0) continue;
      yield { kind: 'events', events: parts };
      parts = [];
    }
  } catch (error) {
    if (aborted()) return;
    endpoint.failed(client, isServiceError(error) ? error : undefined);
    throw error;
  } finally {
    signal.removeEventListener('abort', cancel);
    cancel();
  }
}

type Call = ClientDuplexStream<WatchRequest, WatchResponse>;
type RequestInit = NonNullable<Parameters<typeof create<typeof WatchRequestSchema>>[1]>['requestUnion'];

function send(call: Call, requestUnion: RequestInit & object): void {
  call.write(create(WatchRequestSchema, { requestUnion }));
}

/** The answers of a stream, one at a time, each waited for only so long. */
class Responses {
  readonly #answers: AsyncIterator<WatchResponse>;
  #next: Promise<IteratorResult<WatchResponse>> | undefined;

  constructor(call: Call) {
    // A cancelled call reports itself as an error, also when nobody reads any more.
    call.on('error', () => undefined);
    this.#answers = (call as AsyncIterable<WatchResponse>)[Symbol.asyncIterator]();
  }

  async next(timeoutMs: number): Promise<WatchResponse | 'silence'> {
    this.#next ??= this.#answers.next();
    this.#next.catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<'silence'>((resolve) => {
      timer = setTimeout(resolve, timeoutMs, 'silence');
    });
    try {
      const result = await Promise.race([this.#next, silence]);
      if (result === 'silence') return result;
      this.#next = undefined;
      if (result.done === true) throw new WatchEnded('the server ended the stream');
      return result.value;
    } finally {
      clearTimeout(timer);
    }
  }
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}
