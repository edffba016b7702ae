// What a host wants of a lease, in the terms of the allocation and of the lease's value.

import type { NetworkConfig } from '../config/network.ts';
import { formatIp, parseIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import type { AllocationRequest } from './allocate.ts';
import { isSameHost } from './lease.ts';
import type { Lease, LeaseAttrs } from './lease.ts';
import type { AcquireRequest } from './subnet-manager.ts';

/** The addresses in canonical form, and only those of enabled families. */
export function allocationRequest(config: NetworkConfig, want: AcquireRequest): AllocationRequest {
  return {
    previous: want.previous ?? want.held?.subnet,
    previous6: want.previous6 ?? want.held?.subnet6,
    publicIP: config.enableIPv4 ? publicAddress(4, want.publicIP) : undefined,
    publicIPv6: config.enableIPv6 ? publicAddress(6, want.publicIPv6) : undefined,
  };
}

/** The lease that is to be published under another address than it was; undefined when none is. */
export function movedLease(
  { held }: AcquireRequest,
  { publicIP, publicIPv6 }: AllocationRequest,
): Lease | undefined {
  const now = { publicIP: publicIP ?? null, publicIPv6: publicIPv6 ?? null };
  return held !== undefined && !isSameHost(held.attrs, now) ? held : undefined;
}

/** @param had what the host's lease holds so far */
export function wantedAttrs(
  want: AcquireRequest,
  { publicIP, publicIPv6 }: AllocationRequest,
  had: LeaseAttrs | undefined,
): LeaseAttrs {
  const data = want.backendData?.(had?.backendData);
  const v6Data = want.backendV6Data?.(had?.backendV6Data);
  return {
    publicIP: publicIP ?? null,
    publicIPv6: publicIPv6 ?? null,
    ...(want.backendType !== undefined && { backendType: want.backendType }),
    ...(data !== undefined && { backendData: data }),
    ...(v6Data !== undefined && { backendV6Data: v6Data }),
  };
}

function publicAddress(family: Family, text: string | undefined): string {
  const ip = text === undefined ? undefined : parseIp(text);
  if (ip?.family !== family)
    throw new TypeError(`a lease with IPv${family} needs a public IPv${family} address`);
  return formatIp(family, ip.value);
}
