import fc from 'fast-check';
import t from 'tap';

import { formatIp } from '../../../src/net/ip.ts';
import type { Family } from '../../../src/net/ip.ts';
import { ipBytes, ipText } from '../../../src/netlink/ip-bytes.ts';

t.test('addresses become the text that everybody else writes, and bytes again', async (t) => {
  // Words that are often zero, so that there are runs of zeros to be shortened, and some of one length.
  const word = fc.oneof(fc.constant(0), fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
  const address = fc.oneof(
    fc.array(word, { minLength: 8, maxLength: 8 }).map((words): [Family, bigint] => [6, valueOf(words)]),
    fc.array(word, { minLength: 2, maxLength: 2 }).map((words): [Family, bigint] => [4, valueOf(words)]),
  );
  fc.assert(
    fc.property(address, ([family, value]) => {
      const text = formatIp(family, value);
      t.equal(ipText(family, ipBytes(text)), text);
    }),
    { numRuns: 1000 },
  );
  t.equal(ipText(6, ipBytes('::ffff:1.2.3.4')), '::ffff:102:304');
  t.equal(ipText(4, new Uint8Array(16)), undefined);
  t.equal(ipText(6, new Uint8Array(4)), undefined);
  t.equal(ipText(6, undefined), undefined);
});

function valueOf(words: readonly number[]): bigint {
  return words.reduce((value, word) => (value << 16n) | BigInt(word), 0n);
}
