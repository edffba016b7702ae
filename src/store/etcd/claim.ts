// Claiming a subnet so that it never has two owners.
//
//   keep    the host's own key, put again with a fresh lease, if nobody wrote to it since it was read (mod_revision)
//   make    a new key, if no key that could overlap it was made or changed since the table was read (guard.ts), nor the
//           config
//
// Keeping needs no such guard: while our key lives nobody else can have made one that overlaps it.
//
// Whoever loses a race reads again, in the same transaction that told it so, and tries again until the deadline, with
// the lease that it was granted. Hosts that start together draw from 100 free subnets: most lose no race.
//
// A transaction whose answer was lost may have happened, or may happen yet. It is looked up by the id of the lease that
// it carries, which is nobody else's. For a new key that is not there the lease is revoked before another is tried:
// then a late arrival finds no lease and fails. Where even that cannot be done, the lease is left to expire: the key,
// should it appear, is ours and says so.
//
// A host whose public address has changed keeps its key under the new one (AcquireRequest.held). By the old address
// nobody can tell whose the key is: whoever gets that address takes the key over. So it must be our own write: at the
// mod_revision that we know, or with a lease that we were granted. Entries that name the new address were not written by
// us, and stay.
//
// A reservation (a key without a lease) is kept without one. One that the config has no use for is left alone.

import type { NetworkConfig } from '../../config/network.ts';
import { KerseyError } from '../../errors.ts';
import { cidrEqual } from '../../net/cidr.ts';
import { allocate, isOwnEntry, isPrevious } from '../allocate.ts';
import type { Allocation, AllocationRequest } from '../allocate.ts';
import { formatLeaseKey, formatLeaseValue, isSameHost } from '../lease.ts';
import type { HostAddresses, Lease, LeaseEntry } from '../lease.ts';
import type { AcquireRequest } from '../subnet-manager.ts';
import { allocationRequest, movedLease, wantedAttrs } from '../wanted.ts';
import type { Clock } from './clock.ts';
import { overlapGuard } from './guard.ts';
import type { Compare, EtcdKv, KeyValue, Operation, TxnResult } from './kv.ts';
import type { Layout } from './layout.ts';
import { EtcdTable } from './table.ts';
import type { Row } from './table.ts';

/** A lease of etcd's, and until when it lasts on our clock. */
export interface Grant {
  readonly lease: bigint;
  readonly expires: number;
}

/** What a claim has got. */
export interface Claimed {
  readonly lease: Lease;
  readonly key: string;
  readonly value: string;
  readonly modRevision: bigint;
  /** undefined for a reservation. */
  readonly grant: Grant | undefined;
}

export interface ClaimOptions {
  readonly kv: EtcdKv;
  readonly layout: Layout;
  readonly clock: Clock;
  readonly random: () => number;
  /** Seconds that the lease lasts. */
  readonly ttl: number;
  /** How long to go on losing races, in milliseconds. */
  readonly patience: number;
  /** The key that this node holds, whatever is written there by now. */
  readonly held: string | undefined;
  /** Whether this node, and nobody else, was the last to write it. */
  readonly wrote: (there: KeyValue) => boolean;
  /** Told of every lease before it is used, and for whom. */
  readonly onGrant: (lease: bigint, host: HostAddresses) => void;
  /** @throws KerseyError for a config that is missing or wrong */
  readonly readConfig: (config: KeyValue | undefined) => NetworkConfig;
}

/** Config and table at one moment. */
interface Sight {
  readonly config: KeyValue | undefined;
  readonly table: EtcdTable;
}

interface Plan {
  readonly lease: Lease;
  readonly key: string;
  readonly value: string;
  /** The row that is put again; undefined when the key is a new one. */
  readonly kept: Row | undefined;
  /** The row that the new key takes the place of. */
  readonly replaced: Row | undefined;
  readonly reservation: boolean;
}

/** The wait after a lost race is drawn from up to so many milliseconds, at first from a few. */
const longestPause = 2000;

/** @throws KerseyError of the store and of the config, SUBNETS_EXHAUSTED; STORE_CONFLICT when patience is at its end */
export async function claimSubnet(
  want: AcquireRequest,
  options: ClaimOptions,
  signal: AbortSignal,
): Promise<Claimed> {
  const { kv, clock, random, ttl } = options;
  const deadline = clock.now() + options.patience;
  let sight = sightOf(await kv.txn(read(options), signal), options);
  let grant: Grant | undefined;
  try {
    for (let lost = 0; ; lost++) {
      signal.throwIfAborted();
      const plan = planOf(want, sight, options);
      const { key, value, lease, kept } = plan;
      // A reservation that is as it should be is not written again.
      if (plan.reservation && kept?.kv.value === value) {
        return { lease, key, value, modRevision: kept.kv.modRevision, grant: undefined };
      }
      if (grant !== undefined && clock.now() > grant.expires - ttl * 500) {
        // Losing races has taken half of its time.
        const stale = grant.lease;
        grant = undefined;
        await revokeQuietly(kv, stale);
      }
      if (!plan.reservation && grant === undefined) {
        grant = await grantLease(kv, clock, ttl, signal);
        options.onGrant(grant.lease, lease.attrs);
      }
      const outcome = await attempt(plan, grant, sight, options, signal);
      if (outcome.kind === 'won') {
        const used = plan.reservation ? undefined : grant;
        if (!plan.reservation) grant = undefined;
        return { lease, key, value, modRevision: outcome.modRevision, grant: used };
      }
      if (outcome.kind === 'unknown' && kept === undefined && grant !== undefined) {
        // Before anything else is tried; when this throws the lease stays, see above.
        const doubtful = grant.lease;
        grant = undefined;
        await kv.revoke(doubtful, signal);
        sight = sightOf(await kv.txn(read(options), signal), options);
      } else {
        sight = outcome.sight;
      }
      if (clock.now() > deadline) {
        throw new KerseyError(
          'STORE_CONFLICT',
          `no subnet could be claimed: others were faster ${lost + 1} times`,
          { remedy: 'see what keeps changing with `kersey leases watch`' },
        );
      }
      await clock.sleep(random() * Math.min(longestPause, 4 * 2 ** Math.min(lost, 10)), signal);
    }
  } catch (error) {
    if (error instanceof LostAnswer) {
      // It may have happened: a lease that is revoked now could take our key with it.
      grant = undefined;
      throw error.cause;
    }
    throw error;
  } finally {
    if (grant !== undefined) await revokeQuietly(kv, grant.lease);
  }
}

export async function grantLease(
  kv: EtcdKv,
  clock: Clock,
  ttl: number,
  signal?: AbortSignal,
): Promise<Grant> {
  // From before the question: our clock must not think it longer than etcd's.
  const start = clock.now();
  return { lease: await kv.grant(ttl, signal), expires: start + ttl * 1000 };
}

/** Whether a write that failed so may have happened all the same. */
export function isUncertain(error: unknown): boolean {
  return (
    error instanceof KerseyError && (error.code === 'STORE_UNCERTAIN' || error.code === 'STORE_UNREACHABLE')
  );
}

/** Tidies up; a lease that cannot be revoked holds no key and expires by itself. */
export async function revokeQuietly(kv: EtcdKv, lease: bigint): Promise<void> {
  try {
    await kv.revoke(lease, AbortSignal.timeout(5000));
  } catch {
    return;
  }
}

/** Neither the answer of a transaction nor a look afterwards was to be had. */
class LostAnswer extends Error {}

type Outcome =
  | { readonly kind: 'won'; readonly modRevision: bigint }
  | { readonly kind: 'lost'; readonly sight: Sight }
  /** It has not happened by the time of the sight. */
  | { readonly kind: 'unknown'; readonly sight: Sight };

async function attempt(
  plan: Plan,
  grant: Grant | undefined,
  sight: Sight,
  options: ClaimOptions,
  signal: AbortSignal,
): Promise<Outcome> {
  let result: TxnResult;
  try {
    result = await options.kv.txn(transaction(plan, grant, sight, options), signal);
    if (result.succeeded) return { kind: 'won', modRevision: result.revision };
  } catch (error) {
    // What was given up may have been done. A new key goes with its lease; one that is kept must not.
    if (signal.aborted && plan.kept !== undefined) throw new LostAnswer('stopped', { cause: error });
    if (!isUncertain(error)) throw error;
    const now = await options.kv.txn(read(options), signal).then(
      (answer) => sightOf(answer, options),
      (cause: unknown) => {
        throw new LostAnswer('the outcome is unknown', { cause });
      },
    );
    return judge(plan, grant, now, options, 'unknown');
  }
  // A client that asks a second endpoint is refused by its own success at the first.
  return judge(plan, grant, sightOf(result, options), options, 'lost');
}

function judge(
  plan: Plan,
  grant: Grant | undefined,
  sight: Sight,
  { layout }: ClaimOptions,
  otherwise: 'lost' | 'unknown',
): Outcome {
  const there = sight.table.get(layout.subnets + plan.key)?.kv;
  const ours = there?.value === plan.value && there.lease === (plan.reservation ? 0n : (grant?.lease ?? -1n));
  return ours ? { kind: 'won', modRevision: there.modRevision } : { kind: otherwise, sight };
}

function transaction(
  { lease, key, value, kept, replaced, reservation }: Plan,
  grant: Grant | undefined,
  { config, table }: Sight,
  { layout }: ClaimOptions,
): { compare: readonly Compare[]; success: readonly Operation[]; failure: readonly Operation[] } {
  const full = layout.subnets + key;
  const put: Operation = {
    kind: 'put',
    key: full,
    value,
    ...(!reservation && grant && { lease: grant.lease }),
  };
  const failure = everything(layout);
  if (kept !== undefined) {
    return { compare: [{ key: full, modRevision: kept.kv.modRevision }], success: [put], failure };
  }
  return {
    compare: [
      { key: full, modRevision: 0n },
      ...overlapGuard(lease, layout.subnets, table.revision),
      { key: layout.config, modRevision: config?.modRevision ?? 0n },
      // A key that was removed is no key that changed.
      ...(replaced ? [{ key: replaced.kv.key, modRevision: replaced.kv.modRevision }] : []),
    ],
    success: [...(replaced ? [{ kind: 'delete', key: replaced.kv.key } as const] : []), put],
    failure,
  };
}

function planOf(want: AcquireRequest, { config: configKv, table }: Sight, options: ClaimOptions): Plan {
  const config = options.readConfig(configKv);
  const request = allocationRequest(config, want);
  const moved = movedLease(want, request);
  const rowOf = new Map<LeaseEntry, Row>();
  const entries: LeaseEntry[] = [];
  let held: LeaseEntry | undefined;
  // Of several entries of this host the first that fits is taken.
  for (const row of [...table.rows()].sort((a, b) => rank(a, request) - rank(b, request))) {
    if (row.entry === undefined) continue;
    let entry = isDamaged(row, options) ? { ...row.entry, attrs: ownAttrs(want) } : row.entry;
    if (moved !== undefined) {
      if (isHeld(row, entry, { moved, request }, options)) held = entry;
      else if (isOwnEntry(entry, request) && !options.wrote(row.kv)) entry = { ...entry, attrs: undefined };
    }
    rowOf.set(entry, row);
    entries.push(entry);
  }
  let allocation = allocate(config, entries, { ...request, held }, options.random);
  let own = allocation.own && rowOf.get(allocation.own);
  if (own !== undefined && isReservation(own) && !usesOf(allocation)) {
    // It stays where it is, and taken.
    const others = entries.map((entry) =>
      isReservation(rowOf.get(entry)) && (entry === held || isOwnEntry(entry, request))
        ? { ...entry, attrs: undefined }
        : entry,
    );
    allocation = allocate(config, others, request, options.random);
    own = allocation.own && rowOf.get(allocation.own);
  }
  const attrs = wantedAttrs(want, request, own?.lease?.attrs);
  const lease = { subnet: allocation.subnet, subnet6: allocation.subnet6, attrs };
  const key = formatLeaseKey(lease);
  const same = own?.kv.key === options.layout.subnets + key;
  return {
    lease,
    key,
    value: formatLeaseValue(attrs),
    kept: same ? own : undefined,
    replaced: same ? undefined : own,
    reservation: isReservation(own),
  };
}

/** Whether the allocation keeps something of the host's entry. */
function usesOf({ own, subnet, subnet6 }: Allocation): boolean {
  return (
    own !== undefined &&
    ((subnet !== undefined && cidrEqual(own.subnet, subnet)) ||
      (subnet6 !== undefined && cidrEqual(own.subnet6, subnet6)))
  );
}

/**
 * Whether the row is the lease that is to be published under another address. A reservation is: an operator made it of
 * our lease, or for our old address.
 */
function isHeld(
  row: Row,
  { subnet, subnet6, attrs }: LeaseEntry,
  { moved, request }: { readonly moved: Lease; readonly request: AllocationRequest },
  { held, layout, wrote }: ClaimOptions,
): boolean {
  if (held === undefined || row.kv.key !== layout.subnets + held || attrs === undefined) return false;
  if (!cidrEqual(subnet, moved.subnet) || !cidrEqual(subnet6, moved.subnet6)) return false;
  if (row.entry?.attrs === undefined) return true;
  // Under the new address it is a write of ours whose answer was lost, or an operator's.
  const named = isSameHost(attrs, moved.attrs) || isOwnEntry(row.entry, request);
  return named && (isReservation(row) || wrote(row.kv));
}

/** Our own key, with a value that names nobody. It is put right, not given up. */
function isDamaged({ kv, entry }: Row, { held, layout }: ClaimOptions): boolean {
  return held !== undefined && kv.key === layout.subnets + held && entry?.attrs === undefined;
}

function ownAttrs({ publicIP, publicIPv6 }: AcquireRequest): LeaseEntry['attrs'] {
  return { publicIP: publicIP ?? null, publicIPv6: publicIPv6 ?? null };
}

function isReservation(row: Row | undefined): boolean {
  return row?.kv.lease === 0n;
}

/** A reservation first, then what the host had before. */
function rank(row: Row, request: AllocationRequest): number {
  if (isReservation(row)) return 0;
  return row.entry !== undefined && isPrevious(row.entry, request) ? 1 : 2;
}

function everything(layout: Layout): readonly Operation[] {
  return [
    { kind: 'range', prefix: layout.config },
    { kind: 'range', prefix: layout.subnets },
  ];
}

function read({ layout }: ClaimOptions): { compare: readonly Compare[]; success: readonly Operation[] } {
  return { compare: [], success: everything(layout) };
}

function sightOf({ kvs, revision }: TxnResult, { layout }: ClaimOptions): Sight {
  const table = new EtcdTable(layout.subnets);
  table.replace(kvs, revision);
  return { config: kvs.find(({ key }) => key === layout.config), table };
}
