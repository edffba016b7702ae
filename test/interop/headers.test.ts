// What the engine puts around a packet is what kernel vxlan puts around the same packet: both send the same inner
// packets to one host, which only listens, and tshark reads the outer headers.

import t, { type Test } from 'tap';
import { Overlay, type Member } from '../../src/lab/overlay.ts';
import { Capture } from '../lib/capture.ts';
import { udpPacket, type UdpPacket } from '../lib/frames.ts';
import { skipUnlessInterop } from '../lib/interop.ts';
import { RawSender } from '../lib/raw.ts';

const skip = await skipUnlessInterop();

type Headers = ReadonlyMap<number, unknown>;

const common = [
  ...[
    'eth.src',
    'eth.dst',
    'udp.srcport',
    'udp.dstport',
    'udp.length',
    'udp.checksum',
    'udp.checksum.status',
  ],
  ...['vxlan.flags', 'vxlan.vni', 'vxlan.reserved8', 'frame.len'],
];
// The identification counts packets of the sender; the header checksum follows from the rest.
const ipv4 = [
  ...['ip.hdr_len', 'ip.dsfield', 'ip.len', 'ip.flags', 'ip.frag_offset', 'ip.ttl', 'ip.proto'],
  ...['ip.checksum.status'],
];
const ipv6 = ['ipv6.tclass', 'ipv6.flow', 'ipv6.plen', 'ipv6.nxt', 'ipv6.hlim'];

const firstPort = 6000;
/** Not the ICMP errors of the host that has no socket for them. */
const testFrames = 'udp.dstport == 8472 && udp.dstport == 9 && !icmp && !icmpv6';

/** Every inner ECN with two DSCPs, several TTLs: what could leak into the outer header. */
const packets: readonly Partial<UdpPacket>[] = [
  ...[0, 1, 2, 3].flatMap((ecn) => [{ tos: ecn }, { tos: (46 << 2) | ecn }]),
  ...[1, 2, 63, 64, 255].map((ttl) => ({ ttl })),
  ...[0, 1, 1000, 1380].map((size) => ({ payload: Buffer.alloc(size, 'x') })),
];

for (const family of [4, 6] as const) {
  t.test(`IPv${family}: outer headers equal kernel vxlan's`, { skip }, async (t) => {
    const overlay = await openOverlay(t);
    const listener = overlay.member('listener');
    const capture = await Capture.start(listener.host, listener.host.device, overlay.lab.directory);
    for (const name of ['engine', 'kernel']) {
      const member = overlay.member(name);
      const sender = await RawSender.open(member.host);
      const good = ends(member, listener, family);
      sender.send(
        packets.map((packet, index) => udpPacket({ ...good, fromPort: firstPort + index, ...packet })),
      );
      sender.send([udpPacket({ ...good, payload: Buffer.from(`done: ${name}`) })]);
      await capture.seen(`done: ${name}`);
    }
    await capture.stop('done: kernel');
    const engine = await headersOf(capture, overlay.member('engine'), family);
    const kernel = await headersOf(capture, overlay.member('kernel'), family);
    for (const [index, packet] of packets.entries()) {
      const { payload, ...rest } = packet;
      const what = payload === undefined ? JSON.stringify(rest) : `${payload.length} bytes`;
      t.ok(kernel.has(firstPort + index), `${what}: kernel vxlan sent it`);
      t.same(engine.get(firstPort + index), kernel.get(firstPort + index), `${what}: equal headers`);
    }
  });

  t.test(`IPv${family}: source ports belong to flows`, { skip }, async (t) => {
    const overlay = await openOverlay(t);
    const [engine, listener] = [overlay.member('engine'), overlay.member('listener')];
    const capture = await Capture.start(listener.host, listener.host.device, overlay.lab.directory);
    const flows = Array.from({ length: 64 }, (_, index) => 20_000 + index);
    const rounds = [1, 2, 3].flatMap((round) =>
      flows.map((fromPort) =>
        udpPacket({ ...ends(engine, listener, family), fromPort, payload: Buffer.alloc(round * 100) }),
      ),
    );
    const done = udpPacket({ ...ends(engine, listener, family), payload: Buffer.from('done: flows') });
    (await RawSender.open(engine.host)).send([...rounds, done]);
    await capture.stop('done: flows');

    const ports = new Map<string, Set<number>>();
    for (const [[outer, inner = ''] = []] of await capture.fields(testFrames, 'udp.srcport')) {
      ports.set(inner, (ports.get(inner) ?? new Set()).add(Number(outer)));
    }
    const own = flows.map((port) => ports.get(String(port)) ?? new Set<number>());
    t.ok(
      own.every((set) => set.size === 1),
      'one source port a flow',
    );
    const used = own.flatMap((set) => [...set]);
    t.ok(new Set(used).size >= 8, `flows spread over ports: ${new Set(used).size}`);
    const range = (await engine.host.exec(['cat', '/proc/sys/net/ipv4/ip_local_port_range'])).stdout;
    const [low = 0, high = 0] = range.trim().split(/\s+/).map(Number);
    t.ok(
      used.every((port) => port >= low && port <= high),
      `within ${low}-${high}`,
    );
  });
}

async function openOverlay(t: Test): Promise<Overlay> {
  const overlay = await Overlay.open({
    hosts: [
      // Checksums are then finished when the frame is recorded.
      { name: 'engine', dataplane: 'engine', offloads: 'all off' },
      { name: 'kernel', dataplane: 'kernel', offloads: 'all off' },
      { name: 'listener', dataplane: 'none' },
    ],
    dualStack: true,
  });
  t.teardown(() => overlay.close());
  return overlay;
}

function ends(from: Member, to: Member, family: 4 | 6): Omit<UdpPacket, 'payload'> & { payload: Buffer } {
  const [source = '', destination = ''] =
    family === 4 ? [from.address4, to.address4] : [from.address6, to.address6];
  return { from: source, to: destination, fromPort: 5000, toPort: 9, payload: Buffer.from('hello') };
}

/** By inner source port, the headers of every frame from a host, without what must differ. */
async function headersOf(
  capture: Capture,
  { host, lease4, lease6 }: Member,
  family: 4 | 6,
): Promise<Headers> {
  const fields = [...common, ...(family === 4 ? ipv4 : ipv6)];
  const outer = family === 4 ? `ip.src == ${host.address4}` : `ipv6.src == ${host.address6}`;
  const rows = await capture.fields(`${outer} && ${testFrames}`, ...fields);
  const ownMac = (family === 4 ? lease4 : lease6)?.mac;
  return new Map(
    rows.map((cells) => {
      const row = Object.fromEntries(fields.map((name, index) => [name, cells[index] ?? []]));
      const { 'eth.dst': to = [], 'eth.src': from = [], 'udp.srcport': ports = [], ...same } = row;
      const checksum = same['udp.checksum']?.[0] === '0x0000' ? 'missing' : 'there';
      const inner = { toMac: to[1], fromOwnMac: from[1] === ownMac };
      return [Number(ports[1]), { ...same, 'udp.checksum': checksum, inner }];
    }),
  );
}
