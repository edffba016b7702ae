// A watch that goes on whatever happens to its streams, from one endpoint to the next, without losing or repeating an
// event: each stream begins at the revision after the last one that was passed on.
//
// Between two attempts there is a pause that grows with the failures in a row. A stream that breaks at once after it
// stood is a failure too; only one that lasted begins anew.

import type { KerseyError } from '../../errors.ts';
import type { Login } from './auth.ts';
import { backoff } from './backoff.ts';
import { unreachable } from './calls.ts';
import type { Calls } from './calls.ts';
import { systemClock } from './clock.ts';
import type { Endpoint } from './endpoint.ts';
import { History } from './history.ts';
import type { WatchMessage } from './kv.ts';
import type { EtcdTiming } from './options.ts';
import { judge, refusal } from './verdict.ts';
import type { Verdict } from './verdict.ts';
import { WatchEnded, watchStream } from './watch-stream.ts';

export interface WatchContext {
  readonly calls: Calls;
  readonly login: Login;
  readonly timing: EtcdTiming;
}

export async function* watchPrefix(
  { calls, login, timing }: WatchContext,
  prefix: string,
  fromRevision: bigint,
  signal: AbortSignal,
): AsyncGenerator<WatchMessage, void, undefined> {
  const history = new History(calls, signal);
  const endpoints = calls.inOrder();
  const reasons = new Map<Endpoint, string>();
  let next = fromRevision;
  let failures = 0;
  let begun = false;
  let told = false;
  const aborted = (): boolean => signal.aborted;
  for (let turn = 0; !aborted(); turn++) {
    const endpoint = endpoints[turn % endpoints.length];
    if (endpoint === undefined) return;
    let token: string | undefined;
    let stood: number | undefined;
    let refused: KerseyError | undefined;
    try {
      token = await login.token(endpoint, timing.attempt, signal);
      const stream = watchStream(endpoint, { prefix, fromRevision: next, token, timing, signal });
      for await (const message of stream) {
        switch (message.kind) {
          case 'compacted':
            yield message;
            return;
          case 'created': {
            if (!begun) await history.begin(prefix, next);
            else if (!(await history.continues(prefix, next))) {
              yield { kind: 'compacted', compactRevision: message.header?.revision ?? 0n };
              return;
            }
            begun = true;
            stood = performance.now();
            told = false;
            calls.prefer(endpoint);
            reasons.clear();
            yield { kind: 'connected' };
            break;
          }
          case 'events': {
            const last = message.events.at(-1);
            if (last === undefined) break;
            const revision = last.kind === 'put' ? last.kv.modRevision : last.modRevision;
            next = revision + 1n;
            if (last.kind === 'put') history.learn(last.kv);
            yield { kind: 'events', events: message.events, revision };
          }
        }
      }
    } catch (error) {
      if (aborted()) return;
      const verdict = judgeWatch(error, timing.attempt);
      refused = verdict.kind === 'refused' ? verdict.error : undefined;
      // Of a token that etcd 3.4 does not know (any more) it says no more than that we may not watch.
      if (verdict.kind !== 'elsewhere') login.forget(token);
      reasons.set(endpoint, verdict.kind === 'refused' ? verdict.error.message : verdict.reason);
    }
    const lasted = stood === undefined ? 0 : performance.now() - stood;
    failures = lasted > timing.backoffTo ? 1 : failures + 1;
    if (failures > endpoints.length && !told && !aborted()) {
      told = true;
      yield { kind: 'lost', error: refused ?? unreachable(endpoints, reasons) };
    }
    const pause = { from: timing.backoffFrom, to: timing.backoffTo };
    await systemClock.sleep(backoff(pause, failures), signal);
  }
}

function judgeWatch(error: unknown, waited: number): Verdict {
  if (!(error instanceof WatchEnded)) return judge(error, waited);
  const { message } = error;
  if (/permission denied|auth/.test(message))
    return { kind: 'refused', error: refusal({ details: message }) };
  return { kind: 'elsewhere', reason: message, done: 'no' };
}
