import fc from 'fast-check';
import { endianness } from 'node:os';
import t from 'tap';

import { KerseyError } from '../../../src/errors.ts';
import { verdictOf } from '../../../src/netlink/ack.ts';
import { decodeAddress } from '../../../src/netlink/address.ts';
import { NLM_F, NLMSG, RTM } from '../../../src/netlink/constants.ts';
import { decodeEvent } from '../../../src/netlink/events.ts';
import { decodeForwarding, encodeForwardingChange } from '../../../src/netlink/fdb.ts';
import { decodeLink, encodeLinkCreate } from '../../../src/netlink/link.ts';
import { decodeNeighbour, encodeNeighbourChange } from '../../../src/netlink/neigh.ts';
import { decodeRoute, encodeRouteChange } from '../../../src/netlink/route.ts';
import { attribute, Attributes, decodeMessages, encodeMessage } from '../../../src/netlink/wire.ts';

const never = (): never => {
  throw new Error('more than was sent');
};

const bytes = fc.uint8Array({ maxLength: 40 });

t.test('messages and attributes come back as they went', async () => {
  const one = fc.record({
    type: fc.integer({ min: 16, max: 0xffff }),
    flags: fc.integer({ min: 0, max: 0xffff }),
    header: bytes.map((b) => b.subarray(0, b.length & ~3)),
    attributes: fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 0x3fff }), bytes), {
      selector: ([type]) => type,
    }),
  });
  fc.assert(
    fc.property(fc.array(one, { maxLength: 5 }), (wanted) => {
      const packed = wanted.map(({ type, flags, header, attributes }) =>
        encodeMessage(
          type,
          flags,
          header,
          attributes.map(([kind, value]) => attribute.bytes(kind, value)),
        ),
      );
      const read = decodeMessages(Buffer.concat(packed));
      t.equal(read.length, wanted.length);
      read.forEach((message, i) => {
        const { type, flags, header, attributes } = wanted[i] ?? never();
        t.same([message.type, message.flags], [type, flags]);
        const values = new Attributes(message.payload.subarray(header.length));
        for (const [kind, value] of attributes)
          t.same(Buffer.from(values.bytes(kind) ?? []), Buffer.from(value));
      });
    }),
    { numRuns: 200 },
  );
});

const decoders = [
  decodeLink,
  decodeAddress,
  decodeRoute,
  decodeNeighbour,
  decodeForwarding,
  decodeEvent,
  verdictOf,
];

function decodeAll(data: Uint8Array): void {
  try {
    for (const message of decodeMessages(data)) for (const decode of decoders) decode(message);
  } catch (error) {
    if (!(error instanceof KerseyError)) throw error;
  }
}

t.test('whatever arrives is decoded or refused with a KerseyError', async () => {
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 120 }),
    // A message whose own length is right gets further.
    fc
      .tuple(
        fc.constantFrom(NLMSG.ERROR, NLMSG.DONE, ...Object.values(RTM)),
        fc.uint8Array({ maxLength: 120 }),
      )
      .map(([type, payload]) => encodeMessage(type, NLM_F.ACK_TLVS, payload, [])),
  );
  fc.assert(fc.property(garbage, decodeAll), { numRuns: 5000 });
});

t.test('so is a good message that was cut off or damaged', async () => {
  const device = { index: 7, name: 'flannel.1' };
  const mac = '0e:2a:00:00:00:02';
  const tunnels = [
    { kind: 'vxlan' as const, vni: 1, port: 8472, local: '10.0.0.1', underlay: 2, gbp: true },
    { kind: 'vxlan' as const, vni: 1, port: 8472, local: 'fd00::1' },
    { kind: 'ipip' as const, local: '10.0.0.1', underlay: 2 },
  ];
  const good = [
    ...tunnels.map((tunnel) => encodeLinkCreate({ name: 'flannel.1', mtu: 1450, mac, tunnel })),
    encodeNeighbourChange(RTM.NEWNEIGH, 0, { device, ip: '10.5.2.0', mac }),
    encodeForwardingChange(RTM.NEWNEIGH, 0, { device, mac, dst: '10.0.0.2', port: 1, vni: 2, via: 3 }),
    encodeRouteChange(RTM.NEWROUTE, 0, { dst: '10.5.2.0/24', via: '10.5.2.0', device, onlink: true }),
  ];
  const damaged = fc
    .record({
      message: fc.constantFrom(...good),
      cut: fc.nat(),
      flips: fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 3 }),
    })
    .map(({ message, cut, flips }) => {
      const bytes = Buffer.from(message.subarray(0, Math.max(16, cut % (message.length + 1))));
      bytes.writeUInt32LE(bytes.length, 0);
      for (const [at, value] of flips) bytes[16 + (at % Math.max(1, bytes.length - 16))] = value;
      return bytes;
    });
  fc.assert(fc.property(damaged, decodeAll), { numRuns: 5000 });
});

// Captured with strace from iproute2 6.1 on x86-64; length, sequence number and port id are the socket's business.
const bigEndian = endianness() === 'BE' && 'the capture is from a little-endian machine';
t.test('`ip route replace 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink`', { skip: bigEndian }, async (t) => {
  const body =
    '0218000' +
    '0fe030001' +
    '04000000' +
    '08000100' +
    '0a050200' +
    '08000500' +
    '0a050200' +
    '08000400' +
    '07000000';
  const message = encodeRouteChange(RTM.NEWROUTE, NLM_F.CREATE | NLM_F.REPLACE, {
    dst: '10.5.2.0/24',
    via: '10.5.2.0',
    device: { index: 7, name: 'flannel.1' },
    onlink: true,
  });
  const [decoded] = decodeMessages(message);
  t.match(decoded, { type: RTM.NEWROUTE, flags: NLM_F.CREATE | NLM_F.REPLACE });
  const sorted = (hex: string): readonly string[] => [
    hex.slice(0, 24),
    ...(hex.slice(24).match(/.{16}/g) ?? []).sort(),
  ];
  t.same(sorted(Buffer.from(decoded?.payload ?? []).toString('hex')), sorted(body));
});

t.test(
  "the kernel's words are found behind a capped and behind an echoed request",
  { skip: bigEndian },
  async (t) => {
    const words = attribute.text(1, 'Nexthop has invalid gateway');
    const head = Buffer.alloc(20);
    head.writeInt32LE(-101, 0);
    head.writeUInt32LE(36, 4);
    const verdict = (flags: number, payload: readonly Uint8Array[]): unknown =>
      verdictOf({ type: NLMSG.ERROR, flags, sequence: 0, payload: Buffer.concat(payload) });
    const wanted = { errno: 101, text: 'Nexthop has invalid gateway' };
    t.same(verdict(NLM_F.ACK_TLVS | NLM_F.CAPPED, [head, words]), wanted);
    t.same(verdict(NLM_F.ACK_TLVS, [head, Buffer.alloc(20), words]), wanted);
    t.same(verdict(0, [head, words]), { errno: 101, text: undefined });
  },
);
