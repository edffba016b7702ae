// The control plane's pure functions, at the size of a large cluster.

import type { HostFacts } from '../../src/backend/backend.ts';
import { VxlanBackend } from '../../src/backend/vxlan.ts';
import { parseNetworkConfig } from '../../src/config/network.ts';
import { parseCidr } from '../../src/net/cidr.ts';
import {
  decodeAttrs,
  formatLeaseKey,
  formatLeaseValue,
  parseLeaseKey,
  type Lease,
} from '../../src/store/lease.ts';
import type { MicroCase } from '../lib/suite.ts';

const leaseCount = 1000;

function leaseOf(index: number): Lease {
  const [high, low] = [Math.floor(index / 250), index % 250];
  const mac = `02:00:00:00:${high.toString(16).padStart(2, '0')}:${low.toString(16).padStart(2, '0')}`;
  return {
    subnet: parseCidr(`10.${high}.${low}.0/24`),
    subnet6: undefined,
    attrs: {
      publicIP: `172.16.${high}.${low + 1}`,
      publicIPv6: null,
      backendType: 'vxlan',
      backendData: { VNI: 1, VtepMAC: mac },
    },
  };
}

/** Runs `once` so many times. What it returns is kept, so that the work cannot be optimised away. */
function repeat(name: string, once: () => unknown): MicroCase {
  let kept: unknown;
  return {
    name,
    bytes: 0,
    run: (iterations) => {
      for (let i = 0; i < iterations; i++) kept = once();
      if (kept === repeat) throw new Error('unreachable');
    },
  };
}

export function controlCases(): readonly MicroCase[] {
  const leases = Array.from({ length: leaseCount }, (_, index) => leaseOf(index));
  const [own] = leases;
  if (own === undefined) return [];
  const config = parseNetworkConfig({ Network: '10.0.0.0/8', SubnetLen: 24, Backend: { Type: 'vxlan' } });
  const host: HostFacts = { iface: 'eth0', ifaceMtu: 1500, address4: '172.16.0.1', attached: [] };
  if (config.backend.type !== 'vxlan') return [];
  const context = { config, dataplane: 'engine', options: {}, underlay: {} } as const;
  const backend = new VxlanBackend(config.backend, context);
  const key = formatLeaseKey(own);
  const value = formatLeaseValue(own.attrs);
  return [
    repeat('lease: encode key and value', () => formatLeaseKey(own) + formatLeaseValue(own.attrs)),
    repeat('lease: decode key and value', () => [
      parseLeaseKey(key),
      decodeAttrs(JSON.parse(value) as never),
    ]),
    repeat(`plan of ${leaseCount} leases`, () => backend.plan({ own, leases, host })),
  ];
}
