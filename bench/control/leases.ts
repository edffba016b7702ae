// The leases of hosts that do not exist: as many as wanted, written by nobody but the bench.

import { formatLeaseKey, formatLeaseValue } from '../../src/store/lease.ts';
import { parseCidr } from '../../src/net/cidr.ts';

export const prefix = '/coreos.com/network/';
/** The hosts that exist are given subnets outside those of the others. */
export const config =
  '{"Network":"10.0.0.0/8","SubnetLen":24,"SubnetMin":"10.1.0.0","SubnetMax":"10.99.255.0","Backend":{"Type":"vxlan"}}';

export function subnetOf(index: number): string {
  return `10.${100 + (index >> 8)}.${index & 255}.0/24`;
}

export function leaseOf(index: number): { readonly key: string; readonly value: string } {
  const hex = (byte: number): string => byte.toString(16).padStart(2, '0');
  return {
    key: `${prefix}subnets/${formatLeaseKey({ subnet: parseCidr(subnetOf(index)), subnet6: undefined })}`,
    value: formatLeaseValue({
      publicIP: `172.20.${index >> 8}.${index & 255}`,
      publicIPv6: null,
      backendType: 'vxlan',
      backendData: { VNI: 1, VtepMAC: `02:6b:79:01:${hex(index >> 8)}:${hex(index & 255)}` },
    }),
  };
}
