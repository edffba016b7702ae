// The network configuration: flannel's JSON, read by flannel's rules.
//
// flannel reads it with Go's encoding/json: keys match in any case, unknown keys are ignored, of keys given twice the
// last one counts, and null leaves a default as it is. The rules of the values are those of flannel's
// CheckNetworkConfig, and a few more: what flannel lets through and then never works (SubnetMin above SubnetMax, no
// family at all, a loopback network) is refused here.
//
// Not here: whether Network collides with the networks of this host. Only the node knows those.

import * as v from 'valibot';
import type { Cidr } from '../net/cidr.ts';
import type { Family } from '../net/ip.ts';
import { checkBackend } from './backend.ts';
import type { BackendConfig } from './backend.ts';
import { FieldReader, addressText, flag, networkText, wholeNumber } from './fields.ts';
import type { JsonValue } from './json.ts';
import { checkPool } from './pool.ts';
import type { SubnetPool } from './pool.ts';

export interface NetworkConfig {
  readonly enableIPv4: boolean;
  readonly enableIPv6: boolean;
  readonly enableNFTables: boolean;
  /** This and the next three are there exactly when IPv4 is enabled. */
  readonly network?: Cidr;
  readonly subnetLen?: number;
  /** First address of the first and of the last subnet that may be leased. */
  readonly subnetMin?: bigint;
  readonly subnetMax?: bigint;
  /** This and the next three are there exactly when IPv6 is enabled. */
  readonly ipv6Network?: Cidr;
  readonly ipv6SubnetLen?: number;
  readonly ipv6SubnetMin?: bigint;
  readonly ipv6SubnetMax?: bigint;
  readonly backend: BackendConfig;
}

// `nullish` where flannel takes null for absent, `optional` where it refuses null.
const schema = v.object({
  EnableIPv4: v.nullish(flag, true),
  EnableIPv6: v.nullish(flag, false),
  EnableNFTables: v.nullish(flag, false),
  Network: v.optional(networkText(4, '10.5.0.0/16')),
  SubnetLen: v.nullish(wholeNumber(0, 30), 0),
  SubnetMin: v.optional(addressText(4, '10.5.1.0'), '0.0.0.0'),
  SubnetMax: v.optional(addressText(4, '10.5.255.0'), '0.0.0.0'),
  IPv6Network: v.optional(networkText(6, 'fd00:5::/48')),
  IPv6SubnetLen: v.nullish(wholeNumber(0, 126), 0),
  IPv6SubnetMin: v.nullish(addressText(6, 'fd00:5:0:1::'), '::'),
  IPv6SubnetMax: v.nullish(addressText(6, 'fd00:5:0:ffff::'), '::'),
  Backend: v.optional(v.custom<JsonValue>(() => true)),
});

/**
 * A network configuration, complete and free of contradictions.
 * @param source where it was read, for messages: a file name, for example
 * @throws KerseyError CONFIG_INVALID, CONFIG_NETWORK_MISSING or BACKEND_UNSUPPORTED
 */
export function parseNetworkConfig(config: JsonValue, source?: string): NetworkConfig {
  const reader = new FieldReader(source);
  const fields = reader.read(schema, config, 'config');
  if (!fields.EnableIPv4 && !fields.EnableIPv6) {
    reader.invalid('config.EnableIPv4 is false and config.EnableIPv6 is not true', 'enable one of them');
  }
  const pool4 = fields.EnableIPv4
    ? checkPool(reader, 4, {
        network: fields.Network,
        length: fields.SubnetLen,
        min: fields.SubnetMin,
        max: fields.SubnetMax,
      })
    : undefined;
  const pool6 = fields.EnableIPv6
    ? checkPool(reader, 6, {
        network: fields.IPv6Network,
        length: fields.IPv6SubnetLen,
        min: fields.IPv6SubnetMin,
        max: fields.IPv6SubnetMax,
      })
    : undefined;
  return {
    enableIPv4: fields.EnableIPv4,
    enableIPv6: fields.EnableIPv6,
    enableNFTables: fields.EnableNFTables,
    ...(pool4 && {
      network: pool4.network,
      subnetLen: pool4.length,
      subnetMin: pool4.min,
      subnetMax: pool4.max,
    }),
    ...(pool6 && {
      ipv6Network: pool6.network,
      ipv6SubnetLen: pool6.length,
      ipv6SubnetMin: pool6.min,
      ipv6SubnetMax: pool6.max,
    }),
    backend: checkBackend(reader, fields.Backend, [
      ...(fields.EnableIPv4 ? [4 as const] : []),
      ...(fields.EnableIPv6 ? [6 as const] : []),
    ]),
  };
}

/** What may be leased in the family; undefined when the family is not enabled. */
export function subnetPool(config: NetworkConfig, family: Family): SubnetPool | undefined {
  const [network, length, min, max] =
    family === 4
      ? [config.network, config.subnetLen, config.subnetMin, config.subnetMax]
      : [config.ipv6Network, config.ipv6SubnetLen, config.ipv6SubnetMin, config.ipv6SubnetMax];
  if (network === undefined || length === undefined || min === undefined || max === undefined)
    return undefined;
  return { network, length, min, max };
}
