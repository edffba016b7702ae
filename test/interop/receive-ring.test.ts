// The receive ring on a node with a firewall: datagrams of a kernel vxlan peer that arrive one by one come by the ring,
// past netfilter, and so do acknowledgements of offloaded flows; still a rule that is added later stops them, and stops
// them no longer once it is gone.

import t from 'tap';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { EngineStatus } from '../../src/lab/engine-host.ts';
import type { Host } from '../../src/lab/host.ts';
import { ping } from '../../src/lab/measure.ts';
import { Overlay, type Member } from '../../src/lab/overlay.ts';
import { skipUnlessInterop } from '../lib/interop.ts';
import { skipUnlessInstalled } from '../lib/requirements.ts';
import { SteadyStream } from '../lib/steady-stream.ts';

const skip = (await skipUnlessInterop()) || skipUnlessInstalled('nft');

/** ping's socket has room for 166 answers that it has not read. */
const burst = 100;

async function answers(from: Member, to: Member, family: 4 | 6, atOnce?: number): Promise<number> {
  const address = (family === 4 ? to.address4 : to.address6) ?? '';
  const many = atOnce === undefined ? {} : { count: atOnce, preload: atOnce };
  return (await ping(from.host, address, { intervalS: 0.2, ...many })).received;
}

const table = 'drop_vxlan';

async function drop(host: Host): Promise<void> {
  const chain = 'chain input { type filter hook input priority 0; udp dport 8472 drop; }';
  await host.exec(['nft', '-f', '-'], { input: `table inet ${table} {\n${chain}\n}` });
}

async function allow(host: Host): Promise<void> {
  await host.exec(['nft', 'delete', 'table', 'inet', table]);
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
    const { on, reason } = await seen();
    t.comment(`receive-ring: ${reason}`);
    // The ring is for datagrams that come many at once; those that come one at a time find the engine asleep.
    const isUsed = async (): Promise<void> => {
      const { byRing } = await seen();
      t.equal(await answers(kernel, engine, family, burst), burst);
      await awaitCondition('the ring to be used where it is to be had', async () => {
        if ((await seen()).byRing > byRing === on) return true;
        await answers(kernel, engine, family, burst);
        return false;
      });
    };
    await isUsed();

    await drop(engine.host);
    await awaitCondition('the rule is obeyed', async () => (await answers(kernel, engine, family)) === 0);
    const before = (await seen()).byRing;
    t.equal(await answers(kernel, engine, family, burst), 0);
    t.equal((await seen()).byRing, before, 'nothing passes it by the ring');

    await allow(engine.host);
    t.equal(await answers(kernel, engine, family), 3);
    await isUsed();
  });
}

void t.test(
  'acknowledgements behind a firewall',
  { skip: skip || skipUnlessInstalled('iperf3') },
  async (t) => {
    t.setTimeout(90_000);
    const overlay = await Overlay.open({
      hosts: [
        { name: 'engine', dataplane: 'engine' },
        { name: 'kernel', dataplane: 'kernel' },
      ],
    });
    t.teardown(() => overlay.close());
    const [engine, kernel] = [overlay.member('engine'), overlay.member('kernel')];
    const status = async (): Promise<EngineStatus['overlays'][number]> => {
      const [overlay] = (await engine.engine?.status())?.overlays ?? [];
      if (overlay === undefined) throw new Error('the engine has no overlay');
      return overlay;
    };
    const offload = (await status()).features.find(({ name }) => name === 'flow-offload');
    if (offload?.on !== true) {
      t.pass('not offloaded here', { skip: `flow-offload: ${offload?.reason ?? 'no status'}` });
      return;
    }
    const passed = async (): Promise<number> => (await status()).counters['rx_offloaded'] ?? 0;

    const stream = await SteadyStream.start(engine.host, kernel.host, kernel.address4);
    t.teardown(() => stream.stop());
    await awaitCondition('acknowledgements to pass by the engine', async () => (await passed()) > 100);
    await drop(engine.host);
    let last = await passed();
    const hasEnded = async (): Promise<boolean> => {
      const before = last;
      last = await passed();
      return last === before;
    };
    await awaitCondition('the rule to be obeyed', hasEnded, { intervalMs: 500 });
    await allow(engine.host);
    const comesBack = async (): Promise<boolean> => (await passed()) > last + 100;
    await awaitCondition('acknowledgements to pass again', comesBack, { timeoutMs: 30_000 });
  },
);
