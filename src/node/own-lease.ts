// Whether the store still says that our subnet is ours. A node never gives its subnet up by itself: a lease that is
// missing is claimed again, one that is another's is reported until somebody decides.

import type { Backend } from '../backend/backend.ts';
import { isOwn } from '../backend/peers.ts';
import { KerseyError } from '../errors.ts';
import { cidrOverlaps, formatCidr } from '../net/cidr.ts';
import type { Cidr } from '../net/cidr.ts';
import type { Lease } from '../store/lease.ts';

export type PublicAddresses = Pick<Lease['attrs'], 'publicIP' | 'publicIPv6'>;

export type OwnLease =
  /** As the store has it now; its VtepMAC may have been changed there. */
  | { readonly kind: 'held'; readonly lease: Lease }
  /** Nobody has it, or it is damaged. */
  | { readonly kind: 'missing' }
  | { readonly kind: 'taken'; readonly problem: KerseyError };

/** @param addresses the public addresses that we have or had: what is leased to them is ours */
export function judgeOwnLease(
  own: Lease,
  leases: readonly Lease[],
  backend: Pick<Backend, 'isComplete'>,
  addresses: readonly PublicAddresses[] = [],
): OwnLease {
  const mine =
    leases.find((lease) => isOwn(lease, own)) ??
    leases.find((lease) =>
      addresses.some((held) => isOwn(lease, { ...own, attrs: { ...own.attrs, ...held } })),
    );
  if (mine !== undefined) {
    const { backendData, backendV6Data } = mine.attrs;
    const whole =
      (own.subnet === undefined || backend.isComplete(4, backendData)) &&
      (own.subnet6 === undefined || backend.isComplete(6, backendV6Data));
    return whole ? { kind: 'held', lease: mine } : { kind: 'missing' };
  }
  for (const lease of leases) {
    const clash = clashOf(own.subnet, lease.subnet) ?? clashOf(own.subnet6, lease.subnet6);
    if (clash === undefined) continue;
    const holder = lease.attrs.publicIP ?? lease.attrs.publicIPv6 ?? 'another host';
    return { kind: 'taken', problem: takenError(clash, holder) };
  }
  return { kind: 'missing' };
}

/** What to say when a new claim came back with other subnets than the node runs with. */
export function movedError(own: Lease, now: Lease): KerseyError {
  const text = ({ subnet, subnet6 }: Lease): string =>
    [subnet, subnet6].flatMap((cidr) => (cidr === undefined ? [] : [formatCidr(cidr)])).join(' and ');
  return new KerseyError(
    'SUBNET_OVERLAP',
    `this node runs with ${text(own)}, but the store now gives it ${text(now)}`,
    {
      remedy: 'restart kersey, and the containers that have addresses of the old subnet',
    },
  );
}

interface Clash {
  readonly ours: Cidr;
  readonly theirs: Cidr;
}

function clashOf(ours: Cidr | undefined, theirs: Cidr | undefined): Clash | undefined {
  return ours !== undefined && theirs !== undefined && cidrOverlaps(ours, theirs)
    ? { ours, theirs }
    : undefined;
}

function takenError({ ours, theirs }: Clash, holder: string): KerseyError {
  const message = `our subnet ${formatCidr(ours)} is leased to ${holder} (${formatCidr(theirs)}) and no longer to us`;
  return new KerseyError('SUBNET_OVERLAP', message, {
    remedy: 'remove that lease from the store, or stop this node and start it again to get another subnet',
  });
}
