// Keeping the lease that was acquired: renewing it in time, and noticing who else writes to it.
//
// A renewal puts the same value again with a fresh lease, if the key is still at the revision that we know: it never
// writes over anybody. What a renewal finds instead, or the watch tells, is judged here:
//
//   our own write                 the lease id is one that we were granted, with the address that we were granted it for
//   no lease                      an operator has made it a reservation, and may have edited it: nothing to renew
//   another lease, our address    another daemon uses our public address: named as a problem, and never fought. Should
//                                 it stop renewing, we take over just before the lease ends
//   gone, or another's            no longer kept here. The node sees it in the table, and claims again
//
// After a start from the snapshot nothing is known of the key. The first sight of it, if it names our address, is taken
// for ours, and renewed at once.

import { KerseyError } from '../../errors.ts';
import { isSameHost } from '../lease.ts';
import type { HostAddresses, Lease, LeaseAttrs } from '../lease.ts';
import type { LeaseTerm, StoreHealth } from '../subnet-manager.ts';
import { backoff } from './backoff.ts';
import { grantLease, isUncertain, revokeQuietly } from './claim.ts';
import type { Claimed, Grant } from './claim.ts';
import type { Clock } from './clock.ts';
import type { EtcdKv, KeyValue } from './kv.ts';
import type { Layout } from './layout.ts';
import { decodeRow } from './table.ts';

export interface KeeperOptions {
  readonly kv: EtcdKv;
  readonly layout: Layout;
  readonly clock: Clock;
  readonly random: () => number;
  /** Seconds. */
  readonly ttl: number;
  /** How long before its end a lease is renewed, in milliseconds. */
  readonly margin: number;
  /** What is wrong has changed. */
  readonly onChange: () => void;
}

type Hold =
  /** Started from the snapshot; the store has not been seen yet. */
  | { readonly kind: 'unconfirmed' }
  | { readonly kind: 'leased'; readonly grant: Grant; readonly modRevision: bigint }
  | { readonly kind: 'reserved'; readonly modRevision: bigint }
  /** It is ours to renew at once: seen first after a start from the snapshot, or the other writer has stopped. */
  | { readonly kind: 'due'; readonly modRevision: bigint }
  /** @member look when to see whether it still renews */
  | {
      readonly kind: 'disputed';
      readonly modRevision: bigint;
      readonly lease: bigint;
      readonly look: number;
      readonly problem: KerseyError;
    }
  | { readonly kind: 'gone' };

interface Kept {
  /** Without the prefix. */
  readonly key: string;
  attrs: LeaseAttrs;
  /** What a renewal writes. */
  value: string;
  hold: Hold;
}

/** Waits after a renewal that failed, in milliseconds. flannel tries each minute. */
const retries = { from: 1000, to: 60_000 };
const rememberedGrants = 64;

export class Keeper {
  readonly #options: KeeperOptions;
  /** The last leases that we were granted, and the addresses that we publish with them. */
  readonly #granted = new Map<bigint, HostAddresses>();
  /** A lease of a renewal whose outcome is not known: the next one goes on with it, so that either may succeed. */
  #spare: Grant | undefined;
  #kept: Kept | undefined;
  /** Why the last renewal failed. */
  #failure: KerseyError | undefined;
  #failures = 0;
  #retryAt = 0;
  /** Ends the nap of run(). */
  #wake = new AbortController();

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** Key of the lease that is kept, without the prefix, whatever has become of it. */
  get key(): string | undefined {
    return this.#kept?.key;
  }

  /** A lease that we were granted: what carries it is our own write. To be told before it is used. */
  granted(lease: bigint, { publicIP, publicIPv6 }: HostAddresses): void {
    this.#granted.set(lease, { publicIP, publicIPv6 });
    const [oldest] = this.#granted.keys();
    if (this.#granted.size > rememberedGrants && oldest !== undefined) this.#granted.delete(oldest);
  }

  /** Whether we were the last to write it. */
  wrote({ lease, modRevision }: KeyValue): boolean {
    const isKnown = this.#kept?.hold.kind !== 'disputed' && this.#known() === modRevision;
    return isKnown || this.#granted.has(lease);
  }

  keep(claimed: Claimed): void {
    const { key, lease, value, modRevision, grant } = claimed;
    this.#spare = undefined;
    const hold: Hold = grant ? { kind: 'leased', grant, modRevision } : { kind: 'reserved', modRevision };
    this.#kept = { key, attrs: lease.attrs, value, hold };
    this.#settle();
  }

  /** After a start from the snapshot. */
  keepUnconfirmed(key: string, lease: Lease, value: string): void {
    this.#kept = { key, attrs: lease.attrs, value, hold: { kind: 'unconfirmed' } };
    this.#settle();
  }

  /**
   * What the watch or a listing shows at our key.
   * @param revision of the store, at which it was seen
   */
  see(seen: KeyValue | undefined, revision: bigint): void {
    const known = this.#known();
    if (known !== undefined && seen?.modRevision === known) return;
    // Older than our own last write: the watch lags behind us, or the store was put back in time.
    if (known !== undefined && revision < known) {
      if (seen === undefined || seen.modRevision < known) this.#check();
      return;
    }
    this.#judge(seen);
  }

  health(): Pick<StoreHealth, 'problems' | 'disputed' | 'term'> {
    const hold = this.#kept?.hold;
    const problems: KerseyError[] = [];
    if (hold?.kind === 'disputed') problems.push(hold.problem);
    if (this.#failure !== undefined) problems.push(this.#failure);
    return { problems, disputed: hold?.kind === 'disputed', term: this.#term() };
  }

  /** Renews in time until the signal aborts. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    const over = (): boolean => signal.aborted;
    while (!over()) {
      const due = this.#due();
      if (due > clock.now()) {
        this.#wake = new AbortController();
        await clock.sleep(due - clock.now(), AbortSignal.any([signal, this.#wake.signal]));
        continue;
      }
      try {
        await this.#act(signal);
        this.#failures = 0;
        this.#retryAt = 0;
        this.#fail(undefined);
      } catch (error) {
        if (over()) return;
        this.#retryAt = clock.now() + backoff(retries, ++this.#failures, random);
        this.#fail(KerseyError.from(error));
      }
    }
  }

  #known(): bigint | undefined {
    const hold = this.#kept?.hold;
    return hold !== undefined && 'modRevision' in hold ? hold.modRevision : undefined;
  }

  /** When there is something to do, in milliseconds of the clock. */
  #due(): number {
    const hold = this.#kept?.hold;
    const due =
      hold?.kind === 'leased'
        ? hold.grant.expires - this.#margin()
        : hold?.kind === 'due'
          ? 0
          : hold?.kind === 'disputed'
            ? hold.look
            : Infinity;
    return Math.max(due, this.#retryAt);
  }

  #margin(): number {
    return Math.min(this.#options.margin, (this.#options.ttl * 1000) / 2);
  }

  async #act(signal: AbortSignal): Promise<void> {
    const kept = this.#kept;
    if (kept === undefined) return;
    const { hold } = kept;
    if (hold.kind === 'disputed') {
      const left = await this.#options.kv.timeToLive(hold.lease, signal);
      const margin = this.#margin();
      const now = this.#options.clock.now();
      if (kept.hold !== hold) return;
      kept.hold =
        left === undefined || left * 1000 <= margin
          ? { kind: 'due', modRevision: hold.modRevision }
          : { ...hold, look: now + Math.max(left * 1000 - margin / 2, 1000) };
    } else if (hold.kind === 'leased' || hold.kind === 'due') {
      await this.#renew(kept, hold.modRevision, signal);
    }
  }

  async #renew(kept: Kept, modRevision: bigint, signal: AbortSignal): Promise<void> {
    const { kv, clock, ttl, layout } = this.#options;
    const key = layout.subnets + kept.key;
    const spare = this.#spare;
    this.#spare = undefined;
    const fresh = spare !== undefined && spare.expires - clock.now() > ttl * 500;
    const grant = fresh ? spare : await grantLease(kv, clock, ttl, signal);
    // Before the put: the watch may show it before the transaction is answered.
    this.granted(grant.lease, kept.attrs);
    let there: KeyValue | undefined;
    try {
      const result = await kv.txn(
        {
          compare: [{ key, modRevision }],
          success: [{ kind: 'put', key, value: kept.value, lease: grant.lease }],
          failure: [{ kind: 'range', prefix: key }],
        },
        signal,
      );
      if (result.succeeded) {
        kept.hold = { kind: 'leased', grant, modRevision: result.revision };
        return;
      }
      there = result.kvs.find((row) => row.key === key);
    } catch (error) {
      const now = await kv.range({ key }, signal).catch(() => undefined);
      there = now?.kvs[0];
      if (there?.lease !== grant.lease) {
        // It may happen yet, and then to revoke the lease would be to lose the key.
        if (isUncertain(error)) this.#spare = grant;
        else if (!signal.aborted) await revokeQuietly(kv, grant.lease);
        throw error;
      }
    }
    if (there?.lease === grant.lease) {
      kept.hold = { kind: 'leased', grant, modRevision: there.modRevision };
      return;
    }
    await revokeQuietly(kv, grant.lease);
    if (kept === this.#kept) this.#judge(there);
  }

  /** @param seen what is at our key, newer than all that we know */
  #judge(seen: KeyValue | undefined): void {
    const kept = this.#kept;
    if (kept === undefined) return;
    const { hold } = kept;
    const lease = seen && decodeRow(seen, this.#options.layout.subnets).lease;
    const host = seen && this.#granted.get(seen.lease);
    // Our own write may name another address than the last: a claim is publishing the lease under a new one.
    const names = (ours: HostAddresses | undefined): boolean =>
      ours !== undefined && lease !== undefined && isSameHost(lease.attrs, ours);
    if (seen === undefined || lease === undefined || !(names(kept.attrs) || names(host))) {
      kept.hold = { kind: 'gone' };
      this.#settle();
      return;
    }
    const { modRevision } = seen;
    const ours = host !== undefined;
    // The claim that wrote it is about to tell us.
    if (hold.kind === 'gone' && ours) return;
    if (ours || seen.lease === 0n || hold.kind === 'unconfirmed') {
      // An operator may have edited it.
      kept.attrs = lease.attrs;
      kept.value = seen.value;
      if (seen.lease === 0n) kept.hold = { kind: 'reserved', modRevision };
      else if (hold.kind === 'leased' && hold.grant.lease === seen.lease)
        kept.hold = { ...hold, modRevision };
      else kept.hold = { kind: 'due', modRevision };
    } else {
      const look = this.#options.clock.now();
      kept.hold = {
        kind: 'disputed',
        modRevision,
        lease: seen.lease,
        look,
        problem: disputedError(kept, seen),
      };
    }
    this.#settle();
  }

  /** Asks the store itself, by the renewal, which writes nothing when we are wrong. */
  #check(): void {
    const kept = this.#kept;
    const modRevision = this.#known();
    if (kept === undefined || modRevision === undefined) return;
    if (kept.hold.kind !== 'leased' && kept.hold.kind !== 'due') return;
    kept.hold = { kind: 'due', modRevision };
    this.#settle();
  }

  #term(): LeaseTerm | undefined {
    const hold = this.#kept?.hold;
    if (hold?.kind !== 'leased') return undefined;
    const offset = Date.now() - this.#options.clock.now();
    const { expires } = hold.grant;
    const renewal = Math.max(expires - this.#margin(), this.#retryAt);
    return { expires: new Date(expires + offset), renewal: new Date(renewal + offset) };
  }

  #fail(error: KerseyError | undefined): void {
    const before = this.#failure;
    this.#failure =
      error &&
      new KerseyError(error.code, `our lease could not be renewed: ${error.message}`, {
        remedy: error.remedy,
        cause: error,
      });
    if (before?.line !== this.#failure?.line) this.#options.onChange();
  }

  /** After a change of what is held. */
  #settle(): void {
    this.#wake.abort();
    this.#options.onChange();
  }
}

function disputedError({ key, attrs, value }: Kept, seen: KeyValue): KerseyError {
  const address = attrs.publicIP ?? attrs.publicIPv6 ?? '';
  const change = seen.value === value ? 'renewed by another daemon' : 'rewritten by another daemon';
  return new KerseyError(
    'STORE_CONFLICT',
    `our lease ${key} was ${change} with the same public address ${address}`,
    {
      remedy:
        'give each host its own --public-ip, or stop the other daemon; a lease is known by that address',
    },
  );
}
