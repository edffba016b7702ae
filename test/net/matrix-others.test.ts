// The backends beside vxlan, each in every combination that it is for.

import { mkdirSync } from 'node:fs';
import t from 'tap';

import { allFamilies } from '../lib/matrix.ts';
import { direct4, direct6, linkKind, runRow } from '../lib/matrix-rows.ts';
import type { Row } from '../lib/matrix-rows.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';

const skip = skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('nft', 'iptables', 'ip6tables');

const rows: readonly Row[] = [
  {
    name: 'udp',
    backend: { Type: 'udp' },
    families: ['v4'],
    expected: () => ({ routes4: ['10.5.0.0/16 dev flannel0'], routes6: [], mtu: 1472 }),
  },
  {
    name: 'host-gw',
    backend: { Type: 'host-gw' },
    families: allFamilies,
    expected: () => ({ routes4: [direct4], routes6: [direct6], mtu: 1500 }),
  },
  {
    name: 'ipip',
    backend: { Type: 'ipip' },
    families: ['v4'],
    expected: () => ({
      routes4: ['10.5.2.0/24 via 192.168.78.2 dev flannel.ipip onlink'],
      routes6: [],
      mtu: 1480,
    }),
    lacks: async () => linkKind('ipip', ['local', '127.0.0.1']),
  },
  {
    name: 'wireguard',
    backend: { Type: 'wireguard' },
    families: allFamilies,
    expected: () => ({
      routes4: ['10.5.0.0/16 dev flannel-wg scope link'],
      routes6: ['fd00:5::/48 dev flannel-wg-v6 metric 1024 pref medium'],
      mtu: 1420,
    }),
    lacks: async () => {
      const module = await linkKind('wireguard', []);
      // See test/lib/daemon.ts.
      mkdirSync('/run/wireguard', { recursive: true });
      const tools = skipUnlessInstalled('wg', ...(module === undefined ? [] : ['wireguard-go']));
      return tools === false ? undefined : [module, tools].filter((text) => text !== undefined).join('; ');
    },
  },
  {
    name: 'extension',
    backend: { Type: 'extension', SubnetAddCommand: 'ip route replace $SUBNET via $PUBLIC_IP' },
    families: ['v4'],
    expected: () => ({
      routes4: ['10.5.2.0/24 via 192.168.78.2 dev eth0'],
      routes6: [],
      mtu: 1500,
      uncounted: true,
    }),
  },
  {
    name: 'alloc',
    backend: { Type: 'alloc' },
    families: allFamilies,
    expected: () => ({ routes4: [], routes6: [], mtu: 1500, carries: false }),
  },
];

for (const row of rows) {
  t.test(row.name, { skip }, async (t) => {
    await runRow(t, row);
  });
}
