// Congestion marks through the tunnel (RFC 6040): what comes out of the device for every outer and inner ECN field,
// as tshark sees it there. The engine's table is the kernel's.

import t from 'tap';
import { Capture } from '../lib/capture.ts';
import { Crafted } from '../lib/crafted.ts';
import { skipUnlessInterop } from '../lib/interop.ts';

const skip = await skipUnlessInterop();

const names = ['Not-ECT', 'ECT(1)', 'ECT(0)', 'CE'] as const;
const codes = [0, 1, 2, 3] as const;

/** What is left of an inner field: RFC 6040, figure 4. */
function expected(outer: number, inner: number): number | 'dropped' {
  if (outer === 3) return inner === 0 ? 'dropped' : 3;
  return outer === 1 && inner === 2 ? 1 : inner;
}

for (const family of [4, 6] as const) {
  t.test(`IPv${family}`, { skip }, async (t) => {
    const crafted = await Crafted.open(t);
    const pairs = codes.flatMap((outer) => codes.map((inner) => ({ outer, inner })));
    // A DSCP besides, which is none of the tunnel's business.
    const frames = pairs.map(({ outer, inner }, index) => ({
      id: `${outer} ${inner}`,
      outer: { tos: outer },
      inner: { tos: (46 << 2) | inner, fromPort: 6000 + index },
    }));
    for (const target of ['kernel', 'engine'] as const) {
      const { host } = crafted.overlay.member(target);
      const device = family === 4 ? 'flannel.1' : 'flannel-v6.1';
      const capture = await Capture.start(host, device, crafted.overlay.lab.directory);
      const { drops } = await crafted.send(target, family, frames);
      // A second round only ends the recording.
      await crafted.send(target, family, [{ id: 'end of the table' }]);
      await capture.stop('end of the table');
      const field = family === 4 ? 'ip.dsfield' : 'ipv6.tclass';
      const seen = new Map(
        (await capture.fields('udp.dstport == 7777', 'udp.srcport', field)).map(([port, tos]) => [
          Number(port?.[0]),
          Number(tos?.[0]),
        ]),
      );
      for (const [index, { outer, inner }] of pairs.entries()) {
        const tos = seen.get(6000 + index);
        const want = expected(outer, inner);
        const name = `${target}: ${names[inner]} in ${names[outer]}`;
        t.equal(tos === undefined ? 'dropped' : tos & 3, want, name);
        if (tos !== undefined) t.equal(tos >> 2, 46, `${name}: DSCP untouched`);
      }
      if (target === 'engine') t.same(drops, { rx_ecn: 1 });
    }
  });
}
