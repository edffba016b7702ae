import fc from 'fast-check';
import t from 'tap';
import { formatMac, parseMac, randomMac, tryParseMac } from '../../../src/net/mac.ts';

void t.test('the forms that Go reads, in the one form that we write', (t) => {
  for (const text of ['C6:D2:32:6F:8F:44', 'c6-d2-32-6f-8f-44', 'c6d2.326f.8f44']) {
    t.equal(formatMac(parseMac(text)), 'c6:d2:32:6f:8f:44', text);
  }
  t.end();
});

void t.test('what is not a MAC address is refused, naming it', (t) => {
  const bad = [
    '',
    'c6:d2:32:6f:8f',
    'c6:d2:32:6f:8f:44:00',
    'c6:d2-32:6f:8f:44',
    'g6:d2:32:6f:8f:44',
    'c6d2326f8f44',
    ' c6:d2:32:6f:8f:44',
    'c6:d2:32:6f:8f:44\n',
  ];
  for (const text of bad) {
    t.equal(tryParseMac(text), undefined, JSON.stringify(text));
    t.throws(() => parseMac(text), { code: 'ADDRESS_INVALID', message: `'${text}' is not a MAC address` });
  }
  t.throws(() => formatMac(new Uint8Array(5)), RangeError);
  t.end();
});

void t.test('property: every address survives the round trip', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (mac) => {
      return Buffer.compare(parseMac(formatMac(mac)), mac) === 0;
    }),
  );
  t.pass('holds');
  t.end();
});

void t.test('random addresses are unicast, locally administered and differ', (t) => {
  const macs = Array.from({ length: 200 }, randomMac);
  t.equal(new Set(macs).size, macs.length);
  t.same(
    macs.filter((mac) => ((parseMac(mac)[0] ?? 0) & 0x03) !== 0x02),
    [],
  );
  t.end();
});
