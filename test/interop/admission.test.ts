// Which frames are let in. What kernel vxlan refuses, the engine refuses, and says why in `kersey status`; what the
// kernel takes from a well-behaved peer, the engine takes. Then what the engine refuses and the kernel does not: it
// lets no stranger in.

import t from 'tap';
import { Crafted, type Frame } from '../lib/crafted.ts';
import { skipUnlessInterop } from '../lib/interop.ts';

const skip = await skipUnlessInterop();

interface Case {
  readonly name: string;
  readonly frames: readonly Frame[];
  /** The engine's reason; undefined where the frames are let in, 'stack' where the host's own stack refuses them. */
  readonly refused: string | undefined;
}

/** The I flag is bit 59 of the header's 64 and the VNI takes bits 8 to 31; all others are reserved. */
const reservedBits = Array.from({ length: 64 }, (_, bit) => bit).filter(
  (bit) => bit !== 59 && !(bit >= 8 && bit < 32),
);

const otherMac = '02:99:99:99:99:99';

const sameVerdict: readonly Case[] = [
  {
    name: 'good frames',
    frames: [
      { id: 'good' },
      { id: 'x'.repeat(1300) },
      { id: 'another source port', outer: { fromPort: 1 } },
      { id: 'another TTL', outer: { ttl: 1 } },
      { id: 'another TOS', outer: { tos: 0xb8 } },
    ],
    refused: undefined,
  },
  { name: 'padding after the inner packet', frames: [padded(1), padded(18)], refused: undefined },
  { name: 'no I flag', frames: [{ id: 'no flag', vxlan: { flip: 1n << 59n } }], refused: 'rx_flags' },
  {
    name: `each of ${reservedBits.length} reserved bits`,
    frames: reservedBits.map((bit) => ({ id: `bit ${bit}`, vxlan: { flip: 1n << BigInt(bit) } })),
    refused: 'rx_flags',
  },
  {
    name: 'another VNI',
    frames: [0, 2, 0x010001, 0xffffff].map((vni) => ({ id: `vni ${vni}`, vxlan: { vni } })),
    refused: 'rx_wrong_vni',
  },
  { name: 'another inner MAC', frames: [{ id: 'mac', vxlan: { toMac: otherMac } }], refused: 'rx_inner_mac' },
  {
    name: 'too short',
    frames: Array.from({ length: 22 }, (_, length) => ({
      id: `short ${length}`,
      mangleFrame: (frame) => frame.subarray(0, length),
    })),
    refused: 'rx_short',
  },
  {
    name: 'not IP inside',
    frames: [0x0806, 0x8100, 0x0000, 0xffff].map((etherType) => ({
      id: `type ${etherType}`,
      vxlan: { etherType },
    })),
    refused: 'rx_inner_type',
  },
  {
    name: 'an inner packet that is cut off',
    frames: [1, 8, 9, 30].map((bytes) => ({
      id: `cut ${bytes}`,
      mangleInner: (inner) => inner.subarray(0, -bytes),
    })),
    refused: 'rx_inner_malformed',
  },
  {
    name: 'an inner packet of another version than the frame says',
    frames: [
      {
        id: 'version',
        mangleInner: (inner) => Buffer.concat([Buffer.from([(inner[0] ?? 0) ^ 0x20]), inner.subarray(1)]),
      },
    ],
    refused: 'rx_inner_malformed',
  },
  {
    name: 'a wrong inner UDP checksum',
    frames: [{ id: 'checksum', mangleInner: flipLast }],
    refused: 'stack',
  },
];

/** UDP over IPv6 has to have a checksum (RFC 8200, 8.1). */
function zeroChecksum(family: 4 | 6): Case {
  const frames = [{ id: 'zero checksum', inner: { checksum: false } }];
  return { name: 'no inner UDP checksum', frames, refused: family === 4 ? undefined : 'stack' };
}

function padded(bytes: number): Frame {
  return { id: `padding ${bytes}`, mangleFrame: (frame) => Buffer.concat([frame, Buffer.alloc(bytes)]) };
}

function flipLast(inner: Buffer): Buffer {
  const changed = Buffer.from(inner);
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  return changed;
}

for (const family of [4, 6] as const) {
  t.test(`IPv${family}: the same verdict as the kernel's`, { skip }, async (t) => {
    const crafted = await Crafted.open(t);
    for (const { name, frames, refused } of [...sameVerdict, zeroChecksum(family)]) {
      const kernel = await crafted.send('kernel', family, frames);
      const engine = await crafted.send('engine', family, frames);
      const ids = frames.map((frame) => frame.id);
      t.same(
        kernel.arrived,
        refused === undefined ? ids : [],
        `${name}: kernel vxlan ${refused === undefined ? 'takes' : 'refuses'} them`,
      );
      t.same(engine.arrived, kernel.arrived, `${name}: so does the engine`);
      const counted = refused === undefined || refused === 'stack' ? {} : { [refused]: frames.length };
      t.same(engine.drops, counted, `${name}: and counts why`);
    }
  });

  t.test(`IPv${family}: the engine lets no stranger in`, { skip }, async (t) => {
    const crafted = await Crafted.open(t);
    const [engine, kernel] = [crafted.overlay.member('engine'), crafted.overlay.member('kernel')];
    const own = (family === 4 ? engine.lease4 : engine.lease6)?.mac ?? '';
    const [stranger, foreign, martians, elsewhere] =
      family === 4
        ? [
            '192.168.78.99',
            '10.5.99.1',
            ['127.0.0.1', '224.0.0.1', '0.0.0.0', '255.255.255.255'],
            '10.5.99.1',
          ]
        : ['fd78::99', 'fd05:0:0:99::1', ['::1', 'ff02::1', '::'], 'fd05:0:0:99::1'];
    const cases: readonly Case[] = [
      {
        name: 'unknown outer source',
        frames: [{ id: 'stranger', outer: { from: stranger } }],
        refused: 'rx_unknown_source',
      },
      {
        name: 'an inner source without a lease',
        frames: [{ id: 'foreign', inner: { from: foreign } }],
        refused: 'rx_inner_source',
      },
      {
        name: "another peer's inner source",
        frames: [
          { id: 'spoofed', inner: { from: (family === 4 ? kernel.address4 : kernel.address6) ?? '' } },
        ],
        refused: 'rx_inner_source',
      },
      {
        name: 'our own inner source',
        frames: [{ id: 'mirror', inner: { from: (family === 4 ? engine.address4 : engine.address6) ?? '' } }],
        refused: 'rx_inner_source',
      },
      {
        name: 'martian inner sources',
        frames: martians.map((from) => ({ id: from, inner: { from } })),
        refused: 'rx_martian',
      },
      {
        name: 'an inner destination elsewhere',
        frames: [{ id: 'elsewhere', inner: { to: elsewhere } }],
        refused: 'rx_not_local',
      },
      {
        name: 'our own inner source MAC',
        frames: [{ id: 'loop', vxlan: { fromMac: own } }],
        refused: 'rx_inner_loop',
      },
      {
        name: 'inner broadcast',
        frames: [{ id: 'broadcast', vxlan: { toMac: 'ff:ff:ff:ff:ff:ff' } }],
        refused: 'rx_inner_mac',
      },
    ];
    for (const { name, frames, refused = '' } of cases) {
      const { arrived, drops } = await crafted.send('engine', family, frames);
      t.same(arrived, [], `${name}: refused`);
      t.same(drops, { [refused]: frames.length }, `${name}: counted as ${refused}`);
    }
  });
}

t.test('--allow-unknown-sources and --no-inner-source-check open exactly that', { skip }, async (t) => {
  const crafted = await Crafted.open(t, ['--allow-unknown-sources', '--no-inner-source-check']);
  const { arrived, drops } = await crafted.send('engine', 4, [
    { id: 'stranger', outer: { from: '192.168.78.99' }, inner: { from: '10.5.99.1' } },
    { id: 'foreign', inner: { from: '10.5.99.1' } },
    { id: 'elsewhere', inner: { to: '10.5.99.1' } },
    { id: 'martian', inner: { from: '127.0.0.1' } },
  ]);
  t.same(arrived, ['stranger', 'foreign']);
  t.same(drops, { rx_not_local: 1, rx_martian: 1 });
});
