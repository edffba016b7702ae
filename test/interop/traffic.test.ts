// The engine and kernel vxlan talk to each other, both ways, over both families: TCP, UDP, ICMP and fragments, one
// byte to 64 KB, with offloads on and off on either side. Not one byte changes, not one packet is dropped, and tshark
// has nothing to say against any frame.

import t from 'tap';
import type { OffloadProfile } from '../../src/lab/offloads.ts';
import { skipUnlessInterop } from '../lib/interop.ts';
import { exchangeEverything } from '../lib/exchange.ts';

const skip = await skipUnlessInterop();

const combinations: readonly (readonly [engine: OffloadProfile, kernel: OffloadProfile])[] = [
  ['as is', 'as is'],
  ['plain NIC', 'plain NIC'],
  ['all off', 'all off'],
  ['as is', 'all off'],
  ['all off', 'as is'],
];

for (const [engine, kernel] of combinations) {
  t.test(`offloads: engine ${engine}, kernel ${kernel}`, { skip }, (t) =>
    exchangeEverything(t, { offloads: [engine, kernel] }),
  );
}
