// One family inside the other: IPv6 in frames over IPv4, IPv4 in frames over IPv6. flannel keeps the two apart, and so
// does the daemon; the engine carries any family in any, between two engines and with kernel vxlan both ways.

import t, { type Test } from 'tap';
import { KernelVxlan, baseOf, type VtepLease } from '../../src/lab/kernel-vxlan.ts';
import { Lab } from '../../src/lab/lab.ts';
import { ping } from '../../src/lab/measure.ts';
import { setOffloads, type OffloadProfile } from '../../src/lab/offloads.ts';
import { PayloadReceiver } from '../../src/lab/payload.ts';
import { Capture, mark } from '../lib/capture.ts';
import { EngineProcess } from '../lib/engine-process.ts';
import { skipUnlessInterop } from '../lib/interop.ts';
import { judge } from '../lib/judge.ts';

const skip = await skipUnlessInterop();

const names = ['one', 'two', 'kernel'] as const;
type Name = (typeof names)[number];

const mtuOver = { 4: 1450, 6: 1430 } as const;
const ipHeader = { 4: 20, 6: 40 } as const;

for (const [inner, outer] of [
  [6, 4],
  [4, 6],
] as const) {
  for (const offloads of ['as is', 'all off'] as const) {
    t.test(`IPv${inner} inside IPv${outer}, offloads ${offloads}`, { skip }, (t) =>
      tryFamilies(t, inner, outer, offloads),
    );
  }
}

async function tryFamilies(t: Test, inner: 4 | 6, outer: 4 | 6, offloads: OffloadProfile): Promise<void> {
  const lab = await Lab.open({ hosts: names });
  t.teardown(() => lab.close());
  await Promise.all(lab.hosts.map((host) => setOffloads(host, offloads)));
  const leases = new Map<Name, VtepLease>(
    names.map((name, index) => {
      const { address4, address6 } = lab.host(name);
      const n = index + 1;
      const subnet = inner === 4 ? `10.5.${n}.0/24` : `fd05:0:0:${n}::/64`;
      return [name, { subnet, publicIp: outer === 4 ? address4 : address6, mac: `02:6b:79:00:00:0${n}` }];
    }),
  );
  const lease = (name: Name): VtepLease => leases.get(name) ?? { subnet: '', publicIp: '', mac: '' };
  const others = (name: Name): readonly VtepLease[] => names.filter((other) => other !== name).map(lease);

  const kernel = await KernelVxlan.open(lab.host('kernel'), { family: inner, own: lease('kernel') });
  await kernel.setPeers(others('kernel'));
  const engines = await Promise.all(
    (['one', 'two'] as const).map((name) => startEngine(lab, name, lease(name), others(name), inner, outer)),
  );
  const one = lab.host('one');
  const capture = await Capture.start(one, one.device, lab.directory);

  const mtu = mtuOver[outer];
  for (const [from, to] of [
    ['one', 'two'],
    ['one', 'kernel'],
    ['kernel', 'one'],
  ] as const) {
    const address = baseOf(lease(to).subnet);
    const receiver = await PayloadReceiver.open(lab.host(to), address);
    const segment = mtu - ipHeader[inner] - 20 - 12;
    const datagram = mtu - ipHeader[inner] - 8;
    const streams = [1, segment - 1, segment, segment + 1, 65_535, 2 << 20];
    const datagrams = [1, 64, datagram - 1, datagram, datagram + 1, 2 * datagram, 9000, 65_400];
    t.same((await receiver.tcpFrom(lab.host(from), streams)).faults, [], `${from} -> ${to}: TCP`);
    t.same((await receiver.udpFrom(lab.host(from), datagrams)).faults, [], `${from} -> ${to}: UDP`);
    const { sent, received } = await ping(lab.host(from), address, { count: 2, size: 20_000, timeoutS: 3 });
    t.equal(received, sent, `${from} -> ${to}: ping of 20000`);
    await receiver.close();
  }

  await capture.stop(await mark(one, lab.host('two')));
  const { frames, faults } = await judge(capture, { checksums: offloads === 'all off' });
  t.same(faults, [], `tshark on ${frames} frames`);
  t.ok(frames > 100, 'and there were frames to judge');
  const [foreign] = await capture.fields(
    `udp.port == 8472 && !${outer === 4 ? 'ip' : 'ipv6'}`,
    'frame.number',
  );
  t.equal(foreign, undefined, 'every frame is of the outer family');
  for (const engine of engines) {
    t.same(await engine.drops(), {}, `${engine.host.name} dropped nothing`);
    const { counters } = await engine.counts();
    t.ok((counters['tx_packets'] ?? 0) > 0 && (counters['rx_packets'] ?? 0) > 0, 'and carried it all');
    await engine.close();
  }
}

async function startEngine(
  lab: Lab,
  name: Name,
  own: VtepLease,
  others: readonly VtepLease[],
  inner: 4 | 6,
  outer: 4 | 6,
): Promise<EngineProcess> {
  const host = lab.host(name);
  const engine = await EngineProcess.open(host, {
    ...{ device: 'overlay', vni: 1, port: 8472, local: own.publicIp, vtepMac: own.mac },
    mtu: mtuOver[outer],
  });
  const peers = others.map(({ subnet, publicIp, mac }) => ({
    prefix: subnet,
    outer: publicIp,
    vtepMac: mac,
  }));
  await engine.setPeers({ peers, local: [own.subnet] });
  await host.ip(
    `address add ${baseOf(own.subnet)}/${inner === 4 ? '32' : '128 nodad'} dev overlay`,
    ...others.map(({ subnet }) => `route add ${subnet} dev overlay`),
  );
  return engine;
}
