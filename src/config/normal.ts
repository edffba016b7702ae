// A network configuration as JSON with everything said: keys in flannel's case, every default written out.

import { formatCidr } from '../net/cidr.ts';
import { formatIp } from '../net/ip.ts';
import type { BackendConfig } from './backend.ts';
import type { JsonObject } from './json.ts';
import { subnetPool } from './network.ts';
import type { NetworkConfig } from './network.ts';

export function normalConfig(config: NetworkConfig): JsonObject {
  const [pool4, pool6] = [subnetPool(config, 4), subnetPool(config, 6)];
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
    Backend: normalBackend(config.backend),
  };
}

function normalBackend(backend: BackendConfig): JsonObject {
  const given = (values: Readonly<Record<string, string | number | undefined>>): JsonObject =>
    Object.fromEntries(
      Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
    );
  const Type = backend.type;
  switch (backend.type) {
    case 'vxlan':
      return {
        Type,
        VNI: backend.vni,
        Port: backend.port,
        ...given({ MTU: backend.mtu }),
        DirectRouting: backend.directRouting,
        GBP: backend.gbp,
        Learning: backend.learning,
      };
    case 'udp':
      return { Type, Port: backend.port };
    case 'ipip':
      return { Type, DirectRouting: backend.directRouting };
    case 'wireguard':
      return {
        Type,
        ListenPort: backend.listenPort,
        ListenPortV6: backend.listenPortV6,
        ...given({ MTU: backend.mtu, PSK: backend.psk }),
        PersistentKeepaliveInterval: backend.keepalive,
        Mode: backend.mode,
      };
    case 'extension':
      return {
        Type,
        ...given({
          PreStartupCommand: backend.preStartup,
          PostStartupCommand: backend.postStartup,
          SubnetAddCommand: backend.subnetAdd,
          SubnetRemoveCommand: backend.subnetRemove,
        }),
      };
    case 'host-gw':
    case 'alloc':
      return { Type };
  }
}
