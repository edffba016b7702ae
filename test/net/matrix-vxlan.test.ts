// vxlan in every combination of address families, dataplanes and masquerading.

import t from 'tap';

import { probeKernelVxlan } from '../../src/lab/kernel-vxlan.ts';
import { Lab } from '../../src/lab/lab.ts';
import { allFamilies, masquerades, runCell } from '../lib/matrix.ts';
import type { Families } from '../lib/matrix.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';

const skip = skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('nft', 'iptables', 'ip6tables');

const pairs = [
  ['engine', 'engine'],
  ['kernel', 'kernel'],
  ['engine', 'kernel'],
] as const;

const mtu: Readonly<Record<Families, number>> = { v4: 1450, v6: 1430, dual: 1430 };

t.test('vxlan', { skip }, async (t) => {
  const lab = await Lab.open({ hosts: ['probe'] });
  const [probe] = lab.hosts;
  const lacks = probe === undefined ? 'no lab' : await probeKernelVxlan(probe);
  await lab.close();
  let cell = 0;
  for (const dataplanes of pairs) {
    const without: readonly string[] = dataplanes;
    const skipped = without.includes('kernel') && lacks !== undefined ? `no kernel vxlan: ${lacks}` : false;
    for (const families of allFamilies) {
      for (const masquerade of masquerades(cell++)) {
        const name = `${dataplanes.join(' and ')}, ${families}, masquerade ${masquerade}`;
        await t.test(name, { skip: skipped }, async (t) => {
          await runCell(
            t,
            { backend: { Type: 'vxlan' }, families, dataplanes, masquerade },
            {
              routes4: ['10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink'],
              routes6: ['fd00:5:0:2::/64 via fd00:5:0:2:: dev flannel-v6.1 metric 1024 onlink pref medium'],
              mtu: mtu[families],
            },
          );
        });
      }
    }
  }
});
