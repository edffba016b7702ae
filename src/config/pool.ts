// Which subnets of a network may be leased: the rules of flannel's CheckNetworkConfig, once for both families.

import { cidrContains, cidrLast, cidrOverlaps, cidrSize, formatCidr, parseCidr } from '../net/cidr.ts';
import type { Cidr } from '../net/cidr.ts';
import { addressBits, formatIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import type { FieldReader } from './fields.ts';

/** The subnets that may be leased in one family. */
export interface SubnetPool {
  readonly network: Cidr;
  /** Prefix length of one subnet. */
  readonly length: number;
  /** First address of the first subnet, and of the last one. */
  readonly min: bigint;
  readonly max: bigint;
}

/** What the configuration says of one family. 0 stands for a length or an address that it does not give. */
export interface PoolFields {
  readonly network: Cidr | undefined;
  readonly length: number;
  readonly min: bigint;
  readonly max: bigint;
}

/** Blocks that are never routed between hosts. */
const unroutable = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/4', '::/8', 'fe80::/10', 'ff00::/8'].map(
  parseCidr,
);

const keysOf = {
  4: {
    network: 'config.Network',
    length: 'config.SubnetLen',
    min: 'config.SubnetMin',
    max: 'config.SubnetMax',
  },
  6: {
    network: 'config.IPv6Network',
    length: 'config.IPv6SubnetLen',
    min: 'config.IPv6SubnetMin',
    max: 'config.IPv6SubnetMax',
  },
} as const;

const usualLength = { 4: 24, 6: 64 } as const;
const exampleNetwork = { 4: '10.5.0.0/16', 6: 'fd00:5::/48' } as const;

export function checkPool(reader: FieldReader, family: Family, fields: PoolFields): SubnetPool {
  const keys = keysOf[family];
  const network = checkNetwork(reader, family, fields.network);

  if (fields.length > 0 && fields.length < network.length + 2) {
    reader.invalid(
      `${keys.length} ${fields.length} leaves room for fewer than four subnets in ${formatCidr(network)}`,
      `use ${network.length + 2} or more, or a wider ${keys.network}`,
    );
  }
  const length = fields.length > 0 ? fields.length : Math.max(usualLength[family], network.length + 2);
  const size = 1n << BigInt(addressBits(family) - length);

  // Without the first subnet no host gets the address of the network itself.
  const min = fields.min > 0n ? fields.min : network.base + size;
  const max = fields.max > 0n ? fields.max : network.base + cidrSize(network) - size;
  checkBound(reader, keys.min, network, length, min);
  checkBound(reader, keys.max, network, length, max);
  if (min > max) {
    reader.invalid(
      `${keys.min} ${formatIp(family, min)} is above ${keys.max} ${formatIp(family, max)}`,
      'exchange or correct them, or leave them out for the whole network',
    );
  }
  return { network, length, min, max };
}

function checkNetwork(reader: FieldReader, family: Family, network: Cidr | undefined): Cidr {
  const key = keysOf[family].network;
  const example = exampleNetwork[family];
  // flannel, too, reads 0.0.0.0/0 as no network.
  if (network === undefined || (network.base === 0n && network.length === 0)) {
    const off = family === 4 ? 'for IPv6 alone add "EnableIPv4": false' : 'remove "EnableIPv6"';
    const name = key.slice('config.'.length);
    reader.fail(
      'CONFIG_NETWORK_MISSING',
      `${key} is missing`,
      `add "${name}": "${example}" to config, or ${off}`,
    );
  }
  const clash = unroutable.find((block) => cidrOverlaps(block, network));
  if (clash !== undefined) {
    reader.invalid(
      `${key} ${formatCidr(network)} overlaps ${formatCidr(clash)}, which is never routed between hosts`,
      `choose a private network such as ${example}`,
    );
  }
  // Four addresses a subnet, four subnets a network.
  const longest = addressBits(family) - 4;
  if (network.length > longest) {
    reader.invalid(
      `${key} ${formatCidr(network)} is too small for four subnets of four addresses`,
      `use a prefix of /${longest} or shorter`,
    );
  }
  return network;
}

function checkBound(reader: FieldReader, key: string, network: Cidr, length: number, value: bigint): void {
  const { family } = network;
  const size = 1n << BigInt(addressBits(family) - length);
  const text = formatIp(family, value);
  if (!cidrContains(network, { family, value })) {
    const [from, to] = [formatIp(family, network.base), formatIp(family, cidrLast(network) - size + 1n)];
    reader.invalid(
      `${key} ${text} is outside ${formatCidr(network)}`,
      `use an address from ${from} to ${to}`,
    );
  }
  if (value % size !== 0n) {
    const start = formatIp(family, value - (value % size));
    reader.invalid(`${key} ${text} is not the start of a /${length} subnet`, `write ${start}`);
  }
}
