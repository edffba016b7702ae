// A lease: which subnet belongs to which host. flannel's key and value, to the byte.
//
//   10.5.1.0-24                       the subnet, with a hyphen because etcd keys are paths
//   10.12.13.0-24&fd00:12:13::-56     a host with both families has one key for both
//   0.0.0.0-0&fd00:12:13::-56         IPv6 alone: flannel writes the IPv4 part all the same
//
//   {"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"…"}}
//
// The table of leases is input from others: an entry that cannot be read becomes a warning and takes no other entry
// with it. Its subnet, where the key says one, still counts as taken.

import { foldKeys, show } from '../config/fields.ts';
import { isJsonObject, keyPath } from '../config/json.ts';
import type { JsonObject, JsonValue } from '../config/json.ts';
import { KerseyError } from '../errors.ts';
import { cidrAround } from '../net/cidr.ts';
import type { Cidr } from '../net/cidr.ts';
import { formatIp, tryParseIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';

export type { JsonObject, JsonValue } from '../config/json.ts';

/** At least one of the two. */
export interface LeaseSubnets {
  readonly subnet: Cidr | undefined;
  readonly subnet6: Cidr | undefined;
}

export interface Lease extends LeaseSubnets {
  readonly attrs: LeaseAttrs;
}

export interface LeaseAttrs {
  /** Canonical text. */
  readonly publicIP: string | null;
  readonly publicIPv6: string | null;
  readonly backendType?: string;
  readonly backendData?: JsonValue;
  readonly backendV6Data?: JsonValue;
}

/** A host is known by its public addresses. */
export type HostAddresses = Pick<LeaseAttrs, 'publicIP' | 'publicIPv6'>;

export function isSameHost(a: HostAddresses, b: HostAddresses): boolean {
  return a.publicIP === b.publicIP && a.publicIPv6 === b.publicIPv6;
}

/** An entry of the table as it stands in the store. */
export interface LeaseEntry extends LeaseSubnets {
  /** As it is written there, which need not be how we would write it. */
  readonly key: string;
  /** undefined when the value cannot be read. */
  readonly attrs: LeaseAttrs | undefined;
}

export interface LeaseTable {
  /** In the order of the store. */
  readonly entries: readonly LeaseEntry[];
  /** One line for each entry that is left out or cannot be read. */
  readonly warnings: readonly string[];
}

/** flannel's own expression, unescaped dots and open start included. */
const keyPattern = /(\d+\.\d+.\d+.\d+)-(\d+)(?:&([a-f\d:]+)-(\d+))?$/;

/** flannel reads the lengths into 5 and 7 bits: a lease is never a single address. */
const longestPrefix = { 4: 31, 6: 127 } as const;

const members = ['PublicIP', 'PublicIPv6', 'BackendType', 'BackendData', 'BackendV6Data'] as const;

export function formatLeaseKey({ subnet, subnet6 }: LeaseSubnets): string {
  if (subnet === undefined && subnet6 === undefined) throw new RangeError('a lease has at least one subnet');
  const part = (cidr: Cidr): string => `${formatIp(cidr.family, cidr.base)}-${cidr.length}`;
  const part4 = subnet === undefined ? '0.0.0.0-0' : part(subnet);
  return subnet6 === undefined ? part4 : `${part4}&${part(subnet6)}`;
}

/** @throws KerseyError STORE_MALFORMED */
export function parseLeaseKey(key: string): LeaseSubnets {
  const match = keyPattern.exec(key);
  const [, address4, length4, address6, length6] = match ?? [];
  if (address4 === undefined || length4 === undefined) {
    throw malformed('the key is not a subnet', 'write it as 10.5.1.0-24 or 10.5.1.0-24&fd00:5:1::-64');
  }
  const subnet = address4 === '0.0.0.0' && length4 === '0' ? undefined : parsePart(4, address4, length4);
  const subnet6 =
    address6 === undefined || length6 === undefined ? undefined : parsePart(6, address6, length6);
  if (subnet === undefined && subnet6 === undefined) throw malformed('the key has no subnet', 'remove it');
  return { subnet, subnet6 };
}

function parsePart(family: Family, address: string, lengthText: string): Cidr {
  const ip = tryParseIp(address);
  const length = Number(lengthText);
  if (ip?.family !== family) throw malformed(`${address} is not an IPv${family} address`, 'correct the key');
  if (length > longestPrefix[family]) {
    throw malformed(`/${lengthText} is too long`, `use /${longestPrefix[family]} or shorter`);
  }
  const cidr = cidrAround(family, ip.value, length);
  if (cidr.base !== ip.value) {
    const start = `${formatIp(family, cidr.base)}-${length}`;
    throw malformed(`${address} is not the start of a /${length} subnet`, `write ${start}`);
  }
  return cidr;
}

/** The members in flannel's order. PublicIPv6 is always there; what is empty is left out. */
export function encodeAttrs(attrs: LeaseAttrs): JsonObject {
  return {
    // flannel refuses null here and not there.
    PublicIP: attrs.publicIP ?? '0.0.0.0',
    PublicIPv6: attrs.publicIPv6,
    ...(attrs.backendType !== undefined && attrs.backendType !== '' && { BackendType: attrs.backendType }),
    ...(attrs.backendData !== undefined && { BackendData: attrs.backendData }),
    ...(attrs.backendV6Data !== undefined && { BackendV6Data: attrs.backendV6Data }),
  };
}

/** The value as flannel stores it: compact, and with the escapes of Go's encoder. */
export function formatLeaseValue(attrs: LeaseAttrs): string {
  return JSON.stringify(encodeAttrs(attrs)).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** @throws KerseyError STORE_MALFORMED */
export function decodeAttrs(value: JsonValue): LeaseAttrs {
  if (!isJsonObject(value)) {
    throw malformed(`the value is ${show(value)}, not an object`, 'write {"PublicIP": "192.168.0.1", ...}');
  }
  const folded = foldKeys(value, members);
  const type = folded['BackendType'] ?? '';
  if (typeof type !== 'string') throw malformed(`BackendType is ${show(type)}, not a text`, 'correct it');
  const data = folded['BackendData'];
  const v6Data = folded['BackendV6Data'];
  return {
    publicIP: decodeAddress(4, 'PublicIP', folded['PublicIP']),
    publicIPv6: decodeAddress(6, 'PublicIPv6', folded['PublicIPv6'] ?? undefined),
    ...(type !== '' && { backendType: type }),
    ...(data !== undefined && { backendData: data }),
    ...(v6Data !== undefined && { backendV6Data: v6Data }),
  };
}

/** Members of the value that are not flannel's. */
export function foreignMembers(value: JsonValue): JsonObject {
  if (!isJsonObject(value)) return {};
  const known = new Set(members.map((name) => name.toLowerCase()));
  return Object.fromEntries(Object.entries(value).filter(([key]) => !known.has(key.toLowerCase())));
}

function decodeAddress(family: Family, name: string, value: JsonValue | undefined): string | null {
  if (value === undefined) return null;
  const ip = typeof value === 'string' ? tryParseIp(value) : undefined;
  if (ip?.family !== family) {
    throw malformed(`${name} is ${show(value)}, not an IPv${family} address`, 'correct it or leave it out');
  }
  return ip.value === 0n ? null : formatIp(family, ip.value);
}

/** Reads the whole table, and goes on where an entry is bad. */
export function decodeTable(raw: Iterable<readonly [key: string, value: JsonValue]>): LeaseTable {
  const entries: LeaseEntry[] = [];
  const warnings: string[] = [];
  for (const [key, value] of raw) {
    const warn = (error: KerseyError): void => {
      warnings.push(`${keyPath('leases', key)}: ${error.message}; ${error.remedy}`);
    };
    const subnets = attempt(() => parseLeaseKey(key), warn);
    if (subnets === undefined) continue;
    const attrs = attempt(() => decodeAttrs(value), warn);
    if (attrs?.publicIP === null && attrs.publicIPv6 === null) {
      warn(malformed('there is no PublicIP, so nobody can reach the host', 'add it, or remove the entry'));
      entries.push({ key, ...subnets, attrs: undefined });
    } else {
      entries.push({ key, ...subnets, attrs });
    }
  }
  return { entries, warnings };
}

function attempt<T>(decode: () => T, warn: (error: KerseyError) => void): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof KerseyError)) throw error;
    warn(error);
    return undefined;
  }
}

function malformed(message: string, remedy: string): KerseyError {
  return new KerseyError('STORE_MALFORMED', message, { remedy });
}
