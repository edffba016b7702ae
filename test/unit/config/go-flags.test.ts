import t from 'tap';

import { flagDefaults, parseGoFlags, showFlags, withEnvironment } from '../../../src/config/go-flags.ts';
import type { FlagTable } from '../../../src/config/go-flags.ts';

const table = {
  name: { type: 'string', default: 'none', usage: 'a name' },
  count: { type: 'int', default: 5, usage: 'a number' },
  on: { type: 'bool', default: false, usage: 'a switch' },
  each: { type: 'list', default: [], usage: 'many' },
  'a-word': { type: 'string', default: '', usage: 'secret', secret: true },
  v: { type: 'bool', default: false, usage: 'one letter' },
} as const satisfies FlagTable;

const parse = (...argv: string[]): ReturnType<typeof parseGoFlags<typeof table>> => parseGoFlags(table, argv);

t.test('the forms of a flag, as Go takes them', async (t) => {
  for (const argv of [['-name', 'x'], ['--name', 'x'], ['-name=x'], ['--name=x']]) {
    t.equal(parse(...argv).values.name, 'x', argv.join(' '));
  }
  t.equal(parse('-name=').values.name, '', 'an empty value is a value');
  t.equal(parse('-name', '').values.name, '');
  t.equal(parse('-name=a=b').values.name, 'a=b', 'only the first = counts');
  t.equal(parse('-name', '-on').values.name, '-on', 'the next argument is the value, whatever it looks like');
  t.equal(parse('-name', '--').values.name, '--');
  t.equal(parse('-name', 'a', '-name', 'b').values.name, 'b', 'the last one counts');
  t.same(
    parse('-each', 'a,b', '--each=c').values.each,
    ['a,b', 'c'],
    'a list takes both, and splits nothing',
  );
});

t.test('a bool takes no next argument', async (t) => {
  t.equal(parse('-on').values.on, true);
  for (const text of ['1', 't', 'T', 'TRUE', 'true', 'True'])
    t.equal(parse(`-on=${text}`).values.on, true, text);
  for (const text of ['0', 'f', 'F', 'FALSE', 'false', 'False']) {
    t.equal(parse('-on', `-on=${text}`).values.on, false, text);
  }
  const { values, rest, given } = parse('-on', 'false', '-count=7');
  t.same([values.on, values.count], [true, 5], 'the word after it ends the flags');
  t.same(rest, ['false', '-count=7']);
  t.same([...given], ['on']);
});

t.test('where the flags end', async (t) => {
  t.same(parse('--', '-on').rest, ['-on']);
  t.same(parse('-on', '-', '-v').rest, ['-', '-v'], 'a single dash is no flag');
  t.same(parse('', '-v').rest, ['', '-v']);
  t.same(parse().rest, []);
  for (const help of ['-h', '--h', '-help', '--help']) t.equal(parse('-on', help, '-nope').help, true, help);
});

t.test('numbers as strconv.ParseInt reads them in base 0', async (t) => {
  const right: readonly (readonly [string, number])[] = [
    ['0', 0],
    ['42', 42],
    ['-3', -3],
    ['+3', 3],
    ['0x1F', 31],
    ['0X1f', 31],
    ['017', 15],
    ['0o17', 15],
    ['0b101', 5],
    ['1_000', 1000],
    ['0x_1f', 31],
    ['0_17', 15],
  ];
  for (const [text, value] of right) t.equal(parse(`-count=${text}`).values.count, value, text);
  for (const text of ['', 'x', '1.5', '08', '1e3', '1__0', '_1', '1_', '0x', ' 1', '--1', '１']) {
    t.throws(() => parse(`-count=${text}`), {
      code: 'USAGE',
      message: `invalid value ${JSON.stringify(text)} for flag -count: parse error`,
    });
  }
  t.throws(() => parse('-count=9223372036854775808'), { message: /value out of range/ });
});

t.test("what is wrong, in Go's words", async (t) => {
  const wrong: readonly (readonly [readonly string[], string])[] = [
    [['-nope'], 'flag provided but not defined: -nope'],
    [['--nope=1'], 'flag provided but not defined: -nope'],
    [['-constructor'], 'flag provided but not defined: -constructor'],
    [['-__proto__=1'], 'flag provided but not defined: -__proto__'],
    [['---name'], 'bad flag syntax: ---name'],
    [['-=x'], 'bad flag syntax: -=x'],
    [['--=x'], 'bad flag syntax: --=x'],
    [['-name'], 'flag needs an argument: -name'],
    [['-on=yes'], 'invalid boolean value "yes" for -on: parse error'],
    [['-on='], 'invalid boolean value "" for -on: parse error'],
  ];
  for (const [argv, message] of wrong)
    t.throws(() => parse(...argv), { code: 'USAGE', message, remedy: /--help/ });
});

t.test('the environment fills in what was not given', async (t) => {
  const env = { P_NAME: 'env', P_COUNT: '9', P_ON: 'true', P_EACH: 'a,b', P_A_WORD: 'hush', NAME: 'no' };
  const { parsed, warnings } = withEnvironment(table, parse('-name=given', '-on=false'), 'P', env);
  t.match(parsed.values, { name: 'given', count: 9, on: false, 'a-word': 'hush' });
  t.same(parsed.values.each, ['a,b'], 'one element');
  t.same([...parsed.given].sort(), ['a-word', 'count', 'each', 'name', 'on']);
  t.same(warnings, []);

  const bad = withEnvironment(table, parse(), 'P', { P_COUNT: 'many', P_ON: 'yes', P_NAME: '' });
  t.match(bad.parsed.values, { count: 5, on: false, name: 'none' }, 'bad or empty: the default');
  t.same(bad.warnings, [
    'P_COUNT is "many", which cannot be read (parse error); the default 5 is used',
    'P_ON is "yes", which cannot be read (parse error); the default false is used',
  ]);
  t.same([...bad.parsed.given], []);
});

t.test('secrets are not shown', async (t) => {
  const { values } = parse('-a-word=hush', '-name=https://me:hush@h:2379,http://h', '-each=x', '-each=y');
  const text = showFlags(table, values, () => true);
  t.equal(
    text,
    '-name=https://me:(not shown)@h:2379,http://h -count=5 -on=false -each=x -each=y -a-word=(not shown) -v=false',
  );
  t.notMatch(text, /hush/);
  for (const url of [
    'http://me:hu@sh@h',
    'http://me:hu/sh@h',
    'http://me:hu,sh@h',
    'me:hush@h:2379',
    'http://a:1,http://me:hush@h',
    'HTTPS://me://hush@h',
  ]) {
    t.notMatch(
      showFlags(table, parse(`-name=${url}`).values, (flag) => flag === 'name'),
      /hu|sh@/,
      url,
    );
  }
  const device = parse('-name=eth0@if3');
  t.equal(
    showFlags(table, device.values, (flag) => flag === 'name'),
    '-name=eth0@if3',
  );
  t.equal(
    showFlags(table, parse().values, (flag) => flag === 'a-word'),
    '-a-word=',
    'that there is none may be seen',
  );
});

t.test('help as PrintDefaults prints it', async (t) => {
  t.equal(
    flagDefaults(table),
    [
      '  -a-word string\n    \tsecret\n',
      '  -count int\n    \ta number (default 5)\n',
      '  -each value\n    \tmany\n',
      '  -name string\n    \ta name (default "none")\n',
      '  -on\n    \ta switch\n',
      '  -v\tone letter\n',
    ].join(''),
  );
});
