// A pod behind the engine: what comes in of its flows past the engine (flow-receive) is forwarded to it over a veth,
// whole where that passes superpackets, segmented by the kernel where it does not. The packets carry the mark of a
// tunnel then (docs/adr/0017-flow-receive.md), so every byte and every checksum is looked at behind the veth.

import t, { type Test } from 'tap';
import { run } from '../../src/lab/command.ts';
import type { EngineStatus } from '../../src/lab/engine-host.ts';
import { Host } from '../../src/lab/host.ts';
import { offloadProfiles, type OffloadProfile } from '../../src/lab/offloads.ts';
import { Overlay } from '../../src/lab/overlay.ts';
import { PayloadReceiver } from '../../src/lab/payload.ts';
import { skipUnlessInterop } from '../lib/interop.ts';

const skip = await skipUnlessInterop();

/** A namespace behind the host, joined by a veth as CNI plugins make it. */
async function openPod(t: Test, host: Host, subnet: string): Promise<{ pod: Host; address: string }> {
  const base = subnet.replace(/\.\d+\/\d+$/, '');
  const pod = new Host('pod', `${host.netns}-pod`, 99);
  const address = `${base}.5`;
  await run(['ip', 'netns', 'add', pod.netns]);
  t.teardown(async () => {
    await pod.stopPrograms();
    await run(['ip', 'netns', 'delete', pod.netns]);
  });
  await host.ip(
    `link add pod0 mtu 1450 type veth peer name eth0 mtu 1450 netns ${pod.netns}`,
    `address add ${base}.1/24 dev pod0`,
    'link set pod0 up',
  );
  await pod.ip(
    'link set lo up',
    'link set eth0 up',
    `address add ${address}/24 dev eth0`,
    `route add default via ${base}.1`,
  );
  await host.sysctl('net.ipv4.ip_forward', 1);
  return { pod, address };
}

async function setVeth(host: Host, pod: Host, profile: OffloadProfile): Promise<void> {
  const settings = offloadProfiles[profile].flat();
  if (settings.length === 0) return;
  await host.exec(['ethtool', '-K', 'pod0', ...settings]);
  await pod.exec(['ethtool', '-K', 'eth0', ...settings]);
}

async function badChecksums(host: Host): Promise<number> {
  const { stdout } = await host.exec(['cat', '/proc/net/snmp']);
  const [names, values] = stdout
    .split('\n')
    .filter((line) => line.startsWith('Tcp:'))
    .map((line) => line.split(' '));
  return Number(values?.[names?.indexOf('InCsumErrors') ?? -1] ?? NaN);
}

for (const profile of Object.keys(offloadProfiles) as OffloadProfile[]) {
  void t.test(`a pod behind a veth, ${profile}`, { skip }, async (t) => {
    t.setTimeout(90_000);
    const overlay = await Overlay.open({
      hosts: [
        { name: 'engine', dataplane: 'engine' },
        { name: 'kernel', dataplane: 'kernel' },
      ],
    });
    t.teardown(() => overlay.close());
    const [engine, kernel] = [overlay.member('engine'), overlay.member('kernel')];
    const { pod, address } = await openPod(t, engine.host, engine.lease4.subnet);
    await setVeth(engine.host, pod, profile);
    const status = async (): Promise<EngineStatus['overlays'][number]> => {
      const [first] = (await engine.engine?.status())?.overlays ?? [];
      if (first === undefined) throw new Error('the engine has no overlay');
      return first;
    };

    const inPod = await PayloadReceiver.open(pod, address);
    const before = await status();
    t.same((await inPod.tcpFrom(kernel.host)).faults, [], 'to the pod');
    const after = await status();
    await inPod.close();
    const outside = await PayloadReceiver.open(kernel.host, kernel.address4);
    t.same((await outside.tcpFrom(pod)).faults, [], 'from the pod');
    await outside.close();

    t.equal(await badChecksums(pod), 0, 'what came to the pod had good checksums');
    t.equal(await badChecksums(kernel.host), 0, 'what the pod sent, too');
    const received = (after.counters['rx_packets'] ?? 0) - (before.counters['rx_packets'] ?? 0);
    const past = (after.counters['rx_offloaded'] ?? 0) - (before.counters['rx_offloaded'] ?? 0);
    const feature = after.features.find(({ name }) => name === 'flow-receive');
    t.comment(`flow-receive: ${feature?.reason}; ${past} of ${received} packets came in past the engine`);
    t.ok(received > 40_000, '68 MB came in');
    t.equal(past > received / 10, feature?.on, 'past the engine where that is on');
  });
}
