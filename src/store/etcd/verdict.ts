// What a failed call means: whether another endpoint may do better, and whether the request may have been done.
//
// etcd's own errors come as gRPC statuses whose details begin with `etcdserver:` (api/v3rpc/rpctypes in its sources).
// Everything else is made by the transport.

import { status } from '@grpc/grpc-js';
import type { ServiceError } from '@grpc/grpc-js';
import { KerseyError, oneLine } from '../../errors.ts';

export type Verdict =
  /** This endpoint cannot, others may. */
  | { readonly kind: 'elsewhere'; readonly reason: string; readonly done: 'no' | 'unknown' }
  /** The token is not (any more) good. Nothing was done. */
  | { readonly kind: 'token'; readonly reason: string }
  /** etcd has decided. Nothing was done. */
  | { readonly kind: 'refused'; readonly error: KerseyError };

export function isServiceError(thrown: unknown): thrown is ServiceError {
  return (
    thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'number' && 'details' in thrown
  );
}

/** Refused before it was proposed to the cluster. */
const notDone =
  /no leader|not capable|too many requests|rpc not supported for learner|No connection established|Channel closed before call|refused by server/i;
const badToken = /invalid auth token|revision of auth store is old|user name is empty/i;

export function judge(thrown: unknown, waited: number): Verdict {
  if (thrown instanceof KerseyError) return { kind: 'refused', error: thrown };
  if (!isServiceError(thrown)) throw thrown;
  const { code, details } = thrown;
  const reason = reasonOf(thrown, waited);
  if (badToken.test(details)) return { kind: 'token', reason };
  if (notDone.test(details)) return { kind: 'elsewhere', reason, done: 'no' };
  switch (code) {
    case status.UNAVAILABLE:
    case status.DEADLINE_EXCEEDED:
    case status.CANCELLED:
    case status.UNKNOWN:
    case status.INTERNAL:
    case status.ABORTED:
    case status.DATA_LOSS:
    case status.UNIMPLEMENTED:
      return { kind: 'elsewhere', reason, done: code === status.UNIMPLEMENTED ? 'no' : 'unknown' };
    default:
      return { kind: 'refused', error: refusal(thrown) };
  }
}

/** Whether it was a server that said so, and not our own side of the connection. */
export function isAnswer(error: ServiceError): boolean {
  return error.details.startsWith('etcdserver:');
}

const remedies: readonly (readonly [RegExp, string])[] = [
  [/authentication failed/, 'check the user name and the password'],
  [/user name is empty/, 'etcd asks for a user: give a user name and a password'],
  [/permission denied/, 'let the user read and write below the prefix: etcdctl role grant-permission'],
  [/space exceeded/, 'compact and defragment etcd, then: etcdctl alarm disarm'],
  [/too large|larger than max/, 'raise --max-request-bytes of etcd'],
];

export function refusal(error: { readonly details: string }): KerseyError {
  const said = short(error.details.replace(/^etcdserver: /, ''));
  const [, remedy = 'see the log of etcd'] = remedies.find(([pattern]) => pattern.test(said)) ?? [];
  return new KerseyError('STORE_REFUSED', `etcd refused: ${said}`, { remedy, cause: error });
}

/** In a few words, for a list of endpoints. */
function reasonOf({ code, details }: ServiceError, waited: number): string {
  if (code === status.DEADLINE_EXCEEDED) return `no answer within ${(waited / 1000).toFixed(1)} s`;
  if (details.includes('ECONNREFUSED')) return 'connection refused';
  const words = details
    .replace(/^etcdserver: /, '')
    .replace(/^No connection established\. Last error: /, '')
    .replace(/\.? ?Resolution note:.*$/s, '')
    .replace(/\s*\(\d{4}-\d\d-\d\dT[^)]*\)/, '')
    .replace(/^Error: /, '')
    .replace(/^.*:SSL routines:[^:]*:([^:]*):.*$/s, 'TLS: $1');
  return short(words === '' ? `status ${code}` : words);
}

function short(text: string): string {
  return oneLine(text.length > 200 ? `${text.slice(0, 200)}...` : text);
}
