// Calls that fail over: the endpoint that answered last is asked first, then the others, round after round with
// back-off, until one answers or the call's time is over. No endpoint gets so much of that time that the others go
// without.
//
// What is repeated: everything that may be done twice. A write that may not is sent once: over a connection that
// answered within the last second, or else answers a question of ours first, to a member that has a leader. When it
// fails after that, it is unknown whether it was done, and the error says so: STORE_UNCERTAIN. Whoever gets that reads
// before writing again. A transaction that compares modRevisions could be repeated without harm, but then says "not
// succeeded" of its own first attempt, which the caller would take for somebody else's write.

import { create } from '@bufbuild/protobuf';
import type { DescMessage, DescMethodUnary, MessageShape } from '@bufbuild/protobuf';
import { KerseyError } from '../../errors.ts';
import type { Login } from './auth.ts';
import { backoff } from './backoff.ts';
import { systemClock } from './clock.ts';
import type { Endpoint } from './endpoint.ts';
import { Maintenance, StatusRequestSchema } from './gen/etcd_pb.ts';
import type { EtcdTiming } from './options.ts';
import { judge, refusal } from './verdict.ts';

/** How often one call asks for a new token. A revision of users that changes all the time is not raced for ever. */
const maxLogins = 3;

export class Calls {
  readonly #endpoints: readonly Endpoint[];
  readonly #login: Login;
  readonly #timing: EtcdTiming;
  /** Index of the endpoint to ask first. */
  #first = 0;

  constructor(endpoints: readonly Endpoint[], login: Login, timing: EtcdTiming) {
    this.#endpoints = endpoints;
    this.#login = login;
    this.#timing = timing;
  }

  /** The endpoints, the best first. */
  inOrder(): readonly Endpoint[] {
    return [...this.#endpoints.slice(this.#first), ...this.#endpoints.slice(0, this.#first)];
  }

  prefer(endpoint: Endpoint): void {
    this.#first = Math.max(0, this.#endpoints.indexOf(endpoint));
  }

  /**
   * @param repeatable whether doing it twice is as good as doing it once
   * @throws KerseyError STORE_UNREACHABLE, STORE_REFUSED, and STORE_UNCERTAIN unless repeatable
   */
  async call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
    { repeatable, signal }: { readonly repeatable: boolean; readonly signal: AbortSignal },
  ): Promise<MessageShape<O>> {
    const deadline = performance.now() + this.#timing.call;
    const left = (): number => deadline - performance.now();
    const reasons = new Map<Endpoint, string>();
    let logins = 0;
    for (let round = 1; ; round++) {
      const queue = [...this.inOrder()];
      for (let endpoint = queue.shift(); endpoint !== undefined; endpoint = queue.shift()) {
        if (left() <= 0) throw unreachable(this.#endpoints, reasons);
        const timeoutMs = Math.max(1, Math.min(this.#timing.attempt, left()));
        let token: string | undefined;
        let sent = false;
        try {
          if (!repeatable && !endpoint.isFresh) await this.#probe(endpoint, timeoutMs, signal);
          token = await this.#login.token(endpoint, timeoutMs, signal);
          sent = true;
          const patience = repeatable ? timeoutMs : Math.max(1, left());
          const answer = await endpoint.unary(method, request, { timeoutMs: patience, token, signal });
          this.prefer(endpoint);
          return answer;
        } catch (error) {
          signal.throwIfAborted();
          const verdict = judge(error, timeoutMs);
          switch (verdict.kind) {
            case 'refused':
              throw verdict.error;
            case 'token':
              if (!this.#login.hasUser || ++logins > maxLogins) throw refusal({ details: verdict.reason });
              this.#login.forget(token);
              queue.unshift(endpoint);
              break;
            case 'elsewhere':
              if (sent && !repeatable && verdict.done === 'unknown') {
                throw uncertain(endpoint, verdict.reason, error);
              }
              reasons.set(endpoint, verdict.reason);
          }
        }
      }
      const wait = backoff({ from: this.#timing.backoffFrom, to: 1000 }, round);
      if (wait >= left()) throw unreachable(this.#endpoints, reasons);
      await systemClock.sleep(wait, signal);
      signal.throwIfAborted();
    }
  }

  /** Resolves when the member answers and has a leader. */
  async #probe(endpoint: Endpoint, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const options = { timeoutMs, token: undefined, signal };
    await endpoint.unary(Maintenance.method.status, create(StatusRequestSchema), options);
  }
}

export function unreachable(
  endpoints: readonly Endpoint[],
  reasons: ReadonlyMap<Endpoint, string>,
): KerseyError {
  const list = endpoints.map((endpoint) => `${endpoint.name} (${reasons.get(endpoint) ?? 'not tried'})`);
  const [only] = list;
  const what =
    list.length === 1
      ? `etcd at ${only ?? ''} does not answer`
      : `no endpoint of etcd answers: ${list.join(', ')}`;
  return new KerseyError('STORE_UNREACHABLE', what, {
    remedy: 'check that etcd runs there and that this host reaches it',
  });
}

function uncertain({ name }: Endpoint, reason: string, cause: unknown): KerseyError {
  const what = `etcd at ${name} did not tell whether it wrote: ${reason}`;
  return new KerseyError('STORE_UNCERTAIN', what, {
    remedy: 'read what is there before writing again',
    cause,
  });
}
