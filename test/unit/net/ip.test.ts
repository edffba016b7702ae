import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { isIP } from 'node:net';
import t from 'tap';
import { KerseyError } from '../../../src/errors.ts';
import { canonicalIp, formatIp, parseIp, tryParseIp } from '../../../src/net/ip.ts';

void t.test('texts and their canonical form', (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ['10.5.1.0', '10.5.1.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['FD00:12:13:0:0:0:0:0', 'fd00:12:13::'],
    // RFC 5952 section 4.2: the longest run, the first of two equal ones, and never a single group.
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::1.2.3.4', '::102:304'],
    ['::ffff:1.2.3.4', '::ffff:102:304'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ];
  for (const [text, canonical] of cases) t.equal(canonicalIp(text), canonical, text);
  t.end();
});

void t.test('what is not an address is refused, naming it', (t) => {
  const bad = [
    '',
    '10.5.1',
    '010.5.1.0',
    '10.5.1.256',
    '0x0a.1.1.1',
    ' 10.5.1.0',
    '10.5.1.0/24',
    '10.5.1.0\n',
    '1::2::3',
    ':::',
    '12345::',
    'fe80::1%eth0',
    '[::1]',
    '::ffff:01.2.3.4',
    'localhost',
    '١.1.1.1',
  ];
  for (const text of bad) {
    t.equal(tryParseIp(text), undefined, JSON.stringify(text));
    t.throws(() => parseIp(text), {
      name: 'KerseyError',
      code: 'ADDRESS_INVALID',
      message: `'${text}' is not an IP address`,
    });
  }
  t.end();
});

void t.test('a value outside its family is a mistake of the caller', (t) => {
  t.throws(() => formatIp(4, 1n << 32n), RangeError);
  t.throws(() => formatIp(6, 1n << 128n), RangeError);
  t.throws(() => formatIp(4, -1n), RangeError);
  t.end();
});

void t.test('property: every address survives the round trip, and ipaddr.js reads the same bytes', (t) => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }),
      fc.integer({ min: 0, max: 128 }),
      (value, shift) => {
        const sparse = value >> BigInt(shift);
        const text = formatIp(6, sparse);
        const bytes = ipaddr.IPv6.parse(text).toByteArray();
        return parseIp(text).value === sparse && BigInt(`0x${Buffer.from(bytes).toString('hex')}`) === sparse;
      },
    ),
  );
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffffffff }), (value) => {
      const text = formatIp(4, BigInt(value));
      const bytes = ipaddr.IPv4.parse(text).toByteArray();
      return parseIp(text).value === BigInt(value) && Buffer.from(bytes).readUInt32BE() === value;
    }),
  );
  t.pass('holds');
  t.end();
});

void t.test('property: accepts exactly what inet_pton accepts', (t) => {
  const texts = fc.oneof(
    fc.ipV4(),
    fc.ipV4Extended(),
    fc.ipV6(),
    fc.string({ unit: fc.constantFrom(...Array.from('0123456789abcf:.')), maxLength: 24 }),
  );
  fc.assert(
    fc.property(texts, (text) => {
      try {
        return parseIp(text).family === isIP(text);
      } catch (error) {
        return error instanceof KerseyError && isIP(text) === 0;
      }
    }),
    { numRuns: 2000 },
  );
  t.pass('holds');
  t.end();
});
