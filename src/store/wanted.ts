// What a host wants of a lease, in the terms of the allocation and of the lease's value.

import type { NetworkConfig } from '../config/network.ts';
import { formatIp, parseIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import type { AllocationRequest } from './allocate.ts';
import type { LeaseAttrs } from './lease.ts';
import type { AcquireRequest } from './subnet-manager.ts';

/** flannel's nodes with these backends leave their name out. */
const unnamed: ReadonlySet<string> = new Set(['udp', 'alloc', 'tencent-vpc']);

/** The addresses in canonical form, and only those of enabled families. */
export function allocationRequest(config: NetworkConfig, want: AcquireRequest): AllocationRequest {
  return {
    previous: want.previous,
    previous6: want.previous6,
    publicIP: config.enableIPv4 ? publicAddress(4, want.publicIP) : undefined,
    publicIPv6: config.enableIPv6 ? publicAddress(6, want.publicIPv6) : undefined,
  };
}

/** @param had what the host's lease holds so far */
export function wantedAttrs(
  want: AcquireRequest,
  { publicIP, publicIPv6 }: AllocationRequest,
  had: LeaseAttrs | undefined,
): LeaseAttrs {
  return {
    publicIP: publicIP ?? null,
    publicIPv6: publicIPv6 ?? null,
    ...(!unnamed.has(want.backendType) && { backendType: want.backendType }),
    ...(want.backendData && { backendData: want.backendData(had?.backendData) }),
    ...(want.backendV6Data && { backendV6Data: want.backendV6Data(had?.backendV6Data) }),
  };
}

function publicAddress(family: Family, text: string | undefined): string {
  const ip = text === undefined ? undefined : parseIp(text);
  if (ip?.family !== family)
    throw new TypeError(`a lease with IPv${family} needs a public IPv${family} address`);
  return formatIp(family, ip.value);
}
