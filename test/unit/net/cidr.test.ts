import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { BlockList } from 'node:net';
import t from 'tap';
import {
  cidrAround,
  cidrContains,
  cidrEqual,
  cidrLast,
  cidrOverlaps,
  cidrSize,
  compareCidr,
  formatCidr,
  parseCidr,
  tryParseCidr,
} from '../../../src/net/cidr.ts';
import type { Cidr } from '../../../src/net/cidr.ts';
import { addressBits, formatIp } from '../../../src/net/ip.ts';
import type { Family, Ip } from '../../../src/net/ip.ts';

const family: fc.Arbitrary<Family> = fc.constantFrom(4, 6);

/** Addresses that share long prefixes, so that containment is neither always nor never true. */
function address(family: Family): fc.Arbitrary<Ip> {
  const bits = BigInt(addressBits(family));
  return fc
    .tuple(fc.bigInt({ min: 0n, max: (1n << bits) - 1n }), fc.nat(Number(bits)))
    .map(([value, keep]) => {
      const low = (1n << BigInt(keep)) - 1n;
      const trunk = 0xfd0000050000000000000000000a0501n & ((1n << bits) - 1n);
      return { family, value: (trunk & ~low) | (value & low) };
    });
}

function cidr(family: Family): fc.Arbitrary<Cidr> {
  return fc
    .tuple(address(family), fc.nat(addressBits(family)))
    .map(([ip, length]) => cidrAround(family, ip.value, length));
}

void t.test('texts, with host bits masked off', (t) => {
  t.equal(formatCidr(parseCidr('10.5.1.7/24')), '10.5.1.0/24');
  t.equal(formatCidr(parseCidr('fd00:5:1::7/64')), 'fd00:5:1::/64');
  t.equal(formatCidr(parseCidr('0.0.0.0/0')), '0.0.0.0/0');
  t.equal(formatCidr(parseCidr('::1/128')), '::1/128');
  for (const bad of [
    '',
    '10.5.1.0',
    '10.5.1.0/33',
    '10.5.1.0/',
    '10.5.1.0/024',
    '10.5.1.0/-1',
    '::/129',
    '10.5.1.0/24/24',
    '/24',
    '10.5.1.0/24 ',
  ]) {
    t.equal(tryParseCidr(bad), undefined, bad);
    t.throws(() => parseCidr(bad), { code: 'ADDRESS_INVALID', message: `'${bad}' is not a subnet` });
  }
  t.end();
});

void t.test('sizes, ends and order', (t) => {
  const c = parseCidr('10.5.4.0/22');
  t.equal(cidrSize(c), 1024n);
  t.equal(formatIp(4, cidrLast(c)), '10.5.7.255');
  t.ok(cidrEqual(c, parseCidr('10.5.5.1/22')));
  t.notOk(cidrEqual(c, parseCidr('10.5.4.0/23')));
  t.notOk(cidrEqual(c, undefined));
  t.ok(cidrEqual(undefined, undefined));
  const texts = ['::/0', '10.5.4.0/24', '10.5.0.0/16', '10.5.4.0/22', '10.4.0.0/16'];
  t.same(texts.map(parseCidr).sort(compareCidr).map(formatCidr), [
    '10.4.0.0/16',
    '10.5.0.0/16',
    '10.5.4.0/22',
    '10.5.4.0/24',
    '::/0',
  ]);
  t.throws(() => cidrAround(4, 0n, 33), RangeError);
  t.throws(() => cidrAround(4, 1n << 32n, 8), RangeError);
  t.end();
});

void t.test('families never contain each other', (t) => {
  t.notOk(cidrContains(parseCidr('::/0'), parseCidr('10.0.0.0/8')));
  t.notOk(cidrOverlaps(parseCidr('0.0.0.0/0'), parseCidr('::/0')));
  t.end();
});

void t.test('property: containment is what net.BlockList and ipaddr.js say', (t) => {
  const pairs = family.chain((f) => fc.tuple(cidr(f), address(f)));
  fc.assert(
    fc.property(pairs, ([block, ip]) => {
      const name = block.family === 4 ? 'ipv4' : 'ipv6';
      const list = new BlockList();
      list.addSubnet(formatIp(block.family, block.base), block.length, name);
      const text = formatIp(ip.family, ip.value);
      const ours = cidrContains(block, ip);
      const parsed = ipaddr.parse(text);
      return ours === list.check(text, name) && ours === parsed.match(ipaddr.parseCIDR(formatCidr(block)));
    }),
    { numRuns: 1000 },
  );
  t.pass('holds');
  t.end();
});

void t.test('property: masking is what ipaddr.js does', (t) => {
  const pairs = family.chain((f) => fc.tuple(address(f), fc.nat(addressBits(f))));
  fc.assert(
    fc.property(pairs, ([ip, length]) => {
      const text = `${formatIp(ip.family, ip.value)}/${length}`;
      const lib = ip.family === 4 ? ipaddr.IPv4 : ipaddr.IPv6;
      const base = lib.networkAddressFromCIDR(text);
      const ours = parseCidr(text);
      return (
        formatIp(ours.family, ours.base) ===
        (base instanceof ipaddr.IPv6 ? base.toRFC5952String() : base.toString())
      );
    }),
  );
  t.pass('holds');
  t.end();
});

void t.test('property: overlap is having an address in common', (t) => {
  const pairs = family.chain((f) => fc.tuple(cidr(f), cidr(f)));
  fc.assert(
    fc.property(pairs, ([a, b]) => {
      const first = a.base > b.base ? a.base : b.base;
      const last = cidrLast(a) < cidrLast(b) ? cidrLast(a) : cidrLast(b);
      return cidrOverlaps(a, b) === first <= last && cidrOverlaps(a, b) === cidrOverlaps(b, a);
    }),
    { numRuns: 1000 },
  );
  t.pass('holds');
  t.end();
});
