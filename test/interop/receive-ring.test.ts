// The receive ring on a node with a firewall: datagrams of a kernel vxlan peer that arrive one by one come by the ring,
// past netfilter, and still a rule that is added later stops them, and stops them no longer once it is gone.

import t from 'tap';
import { awaitCondition } from '../../src/lab/condition.ts';
import { ping } from '../../src/lab/measure.ts';
import { Overlay, type Member } from '../../src/lab/overlay.ts';
import { skipUnlessInterop } from '../lib/interop.ts';
import { skipUnlessInstalled } from '../lib/requirements.ts';

const skip = (await skipUnlessInterop()) || skipUnlessInstalled('nft');

async function answers(from: Member, to: Member, family: 4 | 6): Promise<number> {
  const address = (family === 4 ? to.address4 : to.address6) ?? '';
  return (await ping(from.host, address, { intervalS: 0.2 })).received;
}

for (const family of [4, 6] as const) {
  void t.test(`a firewall over IPv${family}`, { skip }, async (t) => {
    t.setTimeout(90_000);
    const overlay = await Overlay.open({
      hosts: [
        { name: 'engine', dataplane: 'engine' },
        { name: 'kernel', dataplane: 'kernel' },
      ],
      dualStack: true,
    });
    t.teardown(() => overlay.close());
    const [engine, kernel] = [overlay.member('engine'), overlay.member('kernel')];
    const seen = async (): Promise<{ on: boolean; reason: string; byRing: number }> => {
      const status = await engine.engine?.status();
      const of = status?.overlays.find((each) => each.family === family);
      const feature = of?.features.find(({ name }) => name === 'receive-ring');
      return {
        on: feature?.on ?? false,
        reason: feature?.reason ?? 'no status',
        byRing: of?.counters['rx_ring'] ?? 0,
      };
    };

    t.equal(await answers(kernel, engine, family), 3);
    const { on, reason, byRing } = await seen();
    t.comment(`receive-ring: ${reason}`);
    t.equal(byRing > 0, on, 'the ring is used where it is to be had');

    const rules = `table inet drop_vxlan {
      chain input { type filter hook input priority 0; udp dport 8472 drop; }
    }`;
    await engine.host.exec(['nft', '-f', '-'], { input: rules });
    await awaitCondition('the rule is obeyed', async () => (await answers(kernel, engine, family)) === 0);
    const before = (await seen()).byRing;
    t.equal(await answers(kernel, engine, family), 0);
    t.equal((await seen()).byRing, before, 'nothing passes it by the ring');

    await engine.host.exec(['nft', 'delete', 'table', 'inet', 'drop_vxlan']);
    t.equal(await answers(kernel, engine, family), 3);
    t.equal((await seen()).byRing > before, on, 'the ring is used again');
  });
}
