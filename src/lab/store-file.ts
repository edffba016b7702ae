// The store file, read and written by hand: what an operator with an editor would do.
//
// Deliberately not the product's codec. The lab's kernel vxlan host stands for a node of another implementation, so
// it must not share a mistake with ours.

import { readFileSync } from 'node:fs';
import { KerseyError } from '../errors.ts';
import type { VtepLease } from './kernel-vxlan.ts';

interface StoredLease {
  readonly PublicIP: string | null;
  readonly PublicIPv6: string | null;
  readonly BackendData?: { readonly VtepMAC: string };
  readonly BackendV6Data?: { readonly VtepMAC: string };
}

export interface StoreFile {
  readonly config: Readonly<Record<string, unknown>>;
  readonly leases: Readonly<Record<string, StoredLease>>;
}

// flannel's own expression for its keys.
const keyPattern = /(\d+\.\d+.\d+.\d+)-(\d+)(?:&([a-f\d:]+)-(\d+))?$/;

export function readStoreFile(path: string): StoreFile {
  const parsed = JSON.parse(readFileSync(path, 'utf8')) as Partial<StoreFile>;
  return { config: parsed.config ?? {}, leases: parsed.leases ?? {} };
}

/** The leases of one family. */
export function leasesOf(store: StoreFile, family: 4 | 6): readonly VtepLease[] {
  return Object.entries(store.leases).flatMap(([key, value]) => {
    const match = keyPattern.exec(key);
    if (match === null)
      throw new KerseyError('STORE_MALFORMED', `lease key '${key}'`, { remedy: 'correct the key' });
    const [base, length] = family === 4 ? [match[1], match[2]] : [match[3], match[4]];
    const publicIp = family === 4 ? value.PublicIP : value.PublicIPv6;
    const mac = (family === 4 ? value.BackendData : value.BackendV6Data)?.VtepMAC;
    if (base === undefined || length === undefined || publicIp === null || mac === undefined) return [];
    return [{ subnet: `${base}/${length}`, publicIp, mac }];
  });
}

/** flannel's key and value of a node with these leases, as an entry of the store file's `leases`. */
export function leaseEntry(
  vni: number,
  lease4: VtepLease,
  lease6?: VtepLease,
): readonly [string, StoredLease] {
  const part = (lease: VtepLease): string => lease.subnet.replace('/', '-');
  const data = (lease: VtepLease): { VNI: number; VtepMAC: string } => ({ VNI: vni, VtepMAC: lease.mac });
  return [
    lease6 === undefined ? part(lease4) : `${part(lease4)}&${part(lease6)}`,
    {
      PublicIP: lease4.publicIp,
      PublicIPv6: lease6?.publicIp ?? null,
      ...{ BackendType: 'vxlan' },
      BackendData: data(lease4),
      ...(lease6 === undefined ? {} : { BackendV6Data: data(lease6) }),
    },
  ];
}
