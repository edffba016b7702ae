// The token of a user, got when first needed and again when etcd does not take it any more: it expires, is forgotten by
// a member that restarts, and every change of users and roles makes it old.

import { create } from '@bufbuild/protobuf';
import type { Endpoint } from './endpoint.ts';
import { Auth, AuthenticateRequestSchema } from './gen/etcd_pb.ts';
import { isServiceError } from './verdict.ts';

export interface User {
  readonly name: string;
  readonly password: string;
}

type State =
  | { readonly kind: 'none' }
  | { readonly kind: 'asked'; readonly answer: Promise<string | undefined> }
  /** No token: the cluster asks nobody for a name. */
  | { readonly kind: 'known'; readonly token: string | undefined };

export class Login {
  readonly #user: User | undefined;
  readonly #closed: AbortSignal;
  #state: State = { kind: 'none' };

  /** @param user undefined: never a token */
  constructor(user: User | undefined, closed: AbortSignal) {
    this.#user = user;
    this.#closed = closed;
  }

  get hasUser(): boolean {
    return this.#user !== undefined;
  }

  /** What to send with a call. Rejects with a gRPC status. */
  async token(endpoint: Endpoint, timeoutMs: number, signal: AbortSignal): Promise<string | undefined> {
    if (this.#user === undefined) return undefined;
    if (this.#state.kind === 'known') return this.#state.token;
    // etcd takes a tenth of a second of CPU to check a password: calls at the same time share one question.
    if (this.#state.kind === 'none') {
      const answer = this.#ask(this.#user, endpoint, timeoutMs);
      this.#state = { kind: 'asked', answer };
    }
    return unlessAborted(this.#state.answer, signal);
  }

  /** etcd did not take this one. */
  forget(token: string | undefined): void {
    if (this.#state.kind === 'known' && this.#state.token === token) this.#state = { kind: 'none' };
  }

  async #ask(user: User, endpoint: Endpoint, timeoutMs: number): Promise<string | undefined> {
    try {
      const request = create(AuthenticateRequestSchema, user);
      const options = { timeoutMs, token: undefined, signal: this.#closed };
      const { token } = await endpoint.unary(Auth.method.authenticate, request, options);
      this.#state = { kind: 'known', token };
      return token;
    } catch (error) {
      if (isServiceError(error) && error.details.includes('authentication is not enabled')) {
        this.#state = { kind: 'known', token: undefined };
        return undefined;
      }
      this.#state = { kind: 'none' };
      throw error;
    }
  }
}

/** The promise goes on for others when this signal aborts. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => {
      reject(signal.reason as Error);
    };
  });
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
