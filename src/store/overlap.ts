// Leases that share addresses. No subnet may belong to two hosts, so such a table is refused at start; while running,
// the older claim stays and the younger one is left out, with a warning.

import { keyPath } from '../config/json.ts';
import { KerseyError } from '../errors.ts';
import { cidrLast, compareCidr, formatCidr } from '../net/cidr.ts';
import type { Cidr } from '../net/cidr.ts';
import type { LeaseEntry } from './lease.ts';

interface Claim {
  readonly cidr: Cidr;
  readonly entry: LeaseEntry;
}

/** @throws KerseyError SUBNET_OVERLAP naming both keys */
export function refuseOverlaps(entries: readonly LeaseEntry[], source: string): void {
  const pair = firstOverlap(entries);
  if (pair === undefined) return;
  throw new KerseyError('SUBNET_OVERLAP', `${source}: ${describe(...pair)}`, {
    remedy: 'remove one of them',
  });
}

/**
 * The entries that remain when, of two that overlap, the later one in the list is left out.
 * @param own this entry is never the one left out
 */
export function withoutOverlaps(
  entries: readonly LeaseEntry[],
  own: (entry: LeaseEntry) => boolean = () => false,
): { entries: readonly LeaseEntry[]; warnings: readonly string[] } {
  if (firstOverlap(entries) === undefined) return { entries, warnings: [] };
  const kept: Claim[] = [];
  const dropped = new Set<LeaseEntry>();
  const warnings: string[] = [];
  const byRank = [...entries.filter(own), ...entries.filter((entry) => !own(entry))];
  for (const entry of byRank) {
    const clash = claimsOf(entry)
      .map((claim): readonly [Claim, Claim] | undefined => {
        const other = overlapping(kept, claim.cidr);
        return other && [other, claim];
      })
      .find((pair) => pair !== undefined);
    if (clash !== undefined) {
      dropped.add(entry);
      warnings.push(`${describe(...clash)}; the second one is not used: remove one of them`);
      continue;
    }
    for (const claim of claimsOf(entry)) kept.splice(insertionPoint(kept, claim.cidr), 0, claim);
  }
  return { entries: entries.filter((entry) => !dropped.has(entry)), warnings };
}

/** Two entries that overlap, the one that stands first in the list first. */
function firstOverlap(entries: readonly LeaseEntry[]): readonly [Claim, Claim] | undefined {
  const rank = new Map(entries.map((entry, index) => [entry, index]));
  const claims = entries.flatMap(claimsOf).sort((a, b) => compareCidr(a.cidr, b.cidr));
  // Blocks nest or are apart. So in this order, if any two overlap, some two neighbours do.
  for (const [index, claim] of claims.entries()) {
    const before = claims[index - 1];
    if (before?.cidr.family !== claim.cidr.family) continue;
    if (claim.cidr.base > cidrLast(before.cidr)) continue;
    return (rank.get(before.entry) ?? 0) < (rank.get(claim.entry) ?? 0) ? [before, claim] : [claim, before];
  }
  return undefined;
}

/** Of claims that are sorted and apart from each other, one that overlaps the block. */
function overlapping(claims: readonly Claim[], cidr: Cidr): Claim | undefined {
  const at = insertionPoint(claims, cidr);
  return [claims[at - 1], claims[at]].find(
    (claim) =>
      claim?.cidr.family === cidr.family &&
      claim.cidr.base <= cidrLast(cidr) &&
      cidr.base <= cidrLast(claim.cidr),
  );
}

/** How many of the sorted claims come before the block. */
function insertionPoint(claims: readonly Claim[], cidr: Cidr): number {
  let [low, high] = [0, claims.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const claim = claims[middle];
    if (claim !== undefined && compareCidr(claim.cidr, cidr) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function claimsOf(entry: LeaseEntry): Claim[] {
  return [entry.subnet, entry.subnet6].flatMap((cidr) => (cidr === undefined ? [] : [{ cidr, entry }]));
}

function describe(first: Claim, second: Claim): string {
  const [a, b] = [keyPath('leases', first.entry.key), keyPath('leases', second.entry.key)];
  return `${a} and ${b} overlap (${formatCidr(first.cidr)}, ${formatCidr(second.cidr)})`;
}
