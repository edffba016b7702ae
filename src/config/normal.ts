// A network configuration as JSON with everything said: keys in flannel's case, every default written out.

import { formatCidr } from '../net/cidr.ts';
import { formatIp } from '../net/ip.ts';
import type { JsonObject } from './json.ts';
import { subnetPool } from './network.ts';
import type { NetworkConfig } from './network.ts';

export function normalConfig(config: NetworkConfig): JsonObject {
  const [pool4, pool6] = [subnetPool(config, 4), subnetPool(config, 6)];
  const { type, vni, port, mtu } = config.backend;
  return {
    EnableIPv4: config.enableIPv4,
    EnableIPv6: config.enableIPv6,
    EnableNFTables: config.enableNFTables,
    ...(pool4 && {
      Network: formatCidr(pool4.network),
      SubnetLen: pool4.length,
      SubnetMin: formatIp(4, pool4.min),
      SubnetMax: formatIp(4, pool4.max),
    }),
    ...(pool6 && {
      IPv6Network: formatCidr(pool6.network),
      IPv6SubnetLen: pool6.length,
      IPv6SubnetMin: formatIp(6, pool6.min),
      IPv6SubnetMax: formatIp(6, pool6.max),
    }),
    Backend: { Type: type, VNI: vni, Port: port, ...(mtu !== undefined && { MTU: mtu }) },
  };
}
