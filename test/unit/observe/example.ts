// A status with everything in it.

import type { Status } from '../../../src/observe/status.ts';

export const exampleStatus: Status = {
  version: '1.2.3',
  pid: 42,
  since: '2026-01-02T03:00:00.000Z',
  state: 'ok',
  problems: [],
  warnings: [],
  backend: 'vxlan',
  dataplane: { mode: 'engine', why: 'because', wish: 'auto' },
  store: { description: 'file:/x.json', state: 'readable', since: '2026-01-02T03:00:00.000Z', leases: 2 },
  lease: {
    subnet: '10.5.1.0/24',
    subnet6: null,
    publicIP: '192.168.78.1',
    publicIPv6: null,
    expires: null,
    renewal: null,
  },
  underlay: { iface: 'eth0', mtu: 1500, address: '192.168.78.1', address6: null, why: '--iface eth0' },
  firewall: { mode: 'nft', why: 'nft: it works', masquerade: false, forward: true },
  overlays: [
    {
      family: 4,
      device: 'flannel.1',
      kind: 'engine',
      state: 'running',
      reason: null,
      vni: 1,
      port: 8472,
      vtepMac: '0e:00:00:00:00:01',
      address: '10.5.1.0/32',
      mtu: 1450,
      features: [
        { name: 'udp-gso', on: true, reason: 'probed' },
        { name: 'udp-gro', on: false, reason: 'switched off by --disable' },
      ],
      peers: [
        {
          prefix: '10.5.2.0/24',
          outer: '192.168.78.2',
          txPackets: 3,
          txBytes: 252,
          rxPackets: 1_234_567,
          rxBytes: 1_234_567_890,
        },
      ],
      counters: { tx_packets: 3 },
      drops: { tx_no_peer: 2, rx_flags: 0, rx_unknown_source: 17 },
    },
  ],
  routes: [],
  repairs: { device: 1, link: 0, address: 0, route: 3 },
};
