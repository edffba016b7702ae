// vxlan with DirectRouting between hosts on one link: the packets go bare, by routes that carry our protocol number.

import t from 'tap';

import { allFamilies } from '../lib/matrix.ts';
import { direct4, direct6, kernelVxlan, runRow } from '../lib/matrix-rows.ts';
import type { Row } from '../lib/matrix-rows.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';

const skip = skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('nft', 'iptables', 'ip6tables');

const row: Row = {
  name: 'vxlan with DirectRouting',
  backend: { Type: 'vxlan', DirectRouting: true },
  families: allFamilies,
  dataplanes: [
    ['engine', 'engine'],
    ['kernel', 'kernel'],
    ['engine', 'kernel'],
  ],
  expected: (families) => ({
    routes4: [direct4],
    routes6: [direct6],
    mtu: families === 'v4' ? 1450 : 1430,
  }),
  lacks: async (dataplanes) => (dataplanes.includes('kernel') ? kernelVxlan() : undefined),
};

t.test(row.name, { skip }, async (t) => {
  await runRow(t, row);
});
