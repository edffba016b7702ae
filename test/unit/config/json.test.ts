import fc from 'fast-check';
import t from 'tap';
import { JsonSyntaxError, isJsonObject, keyPath, parseJson } from '../../../src/config/json.ts';

function syntaxError(text: string): JsonSyntaxError {
  try {
    parseJson(text);
  } catch (error) {
    if (error instanceof JsonSyntaxError) return error;
    throw error;
  }
  throw new Error(`accepted: ${text}`);
}

void t.test('a mistake is named with its line and column', (t) => {
  const cases: readonly (readonly [string, number, number, string])[] = [
    ['', 1, 1, 'the text ends here; expected a value'],
    ['{\n  "a": 1,\n  "b": [1, 2', 3, 13, "the text ends here; expected ',' or ']'"],
    ['{"a": 1,}', 1, 9, 'expected a key in double quotes'],
    ['[1,]', 1, 4, 'expected a value'],
    ['{"a" 1}', 1, 6, "expected ':'"],
    ['{"a": tru}', 1, 7, 'expected a value'],
    ['{"a": 01}', 1, 7, 'expected a value'],
    ['{"a": 1} {', 1, 10, 'expected the end of the text'],
    ['{"a": "b', 1, 9, 'the text ends here; the string has no end'],
    ['{"a": "b\n"}', 1, 9, 'a control character in a string must be escaped'],
    ['{"a": "\\x"}', 1, 8, 'not an escape'],
    ["{'a': 1}", 1, 2, 'expected a key in double quotes'],
    ['{"a": 1} // comment', 1, 10, 'expected the end of the text'],
    ['\ufeff{}', 1, 1, 'expected a value'],
    ['['.repeat(101), 1, 101, 'nested more than 100 deep'],
  ];
  for (const [text, line, column, message] of cases) {
    const { line: l, column: c, message: m } = syntaxError(text);
    t.same([l, c, m], [line, column, message], JSON.stringify(text).slice(0, 40));
  }
  t.end();
});

void t.test('keys given twice in one object are named, with the path to them', (t) => {
  const { value, duplicates } = parseJson(
    '{"a": {"x": 1, "y": {"x": 0}, "x": 2}, "b": 1, "\\u0062": [{"k": 1, "k": 2}]}',
  );
  t.same(value, { a: { x: 2, y: { x: 0 } }, b: [{ k: 2 }] });
  t.same(duplicates, [['a', 'x'], ['b'], ['b', '', 'k']]);
  t.same(parseJson('{"a": {"x": 1}, "b": {"x": 1}}').duplicates, []);
  t.end();
});

void t.test('paths are written as in a program', (t) => {
  t.equal(keyPath('config', 'Backend', 'VNI'), 'config.Backend.VNI');
  t.equal(keyPath('leases', '10.5.1.0-24', 'PublicIP'), 'leases["10.5.1.0-24"].PublicIP');
  t.end();
});

void t.test('objects are told from arrays and null', (t) => {
  t.ok(isJsonObject({}));
  for (const other of [null, [], 1, 'x', true, undefined]) t.notOk(isJsonObject(other));
  t.end();
});

void t.test('property: reads what JSON.parse reads, refuses what it refuses', (t) => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(undefined, 2, '\t'), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      t.same(parseJson(text).value, JSON.parse(text));
    }),
  );
  // One character removed, doubled or replaced somewhere in valid JSON, or the text cut there.
  const spoilt = fc
    .tuple(
      fc.json(),
      fc.nat(),
      fc.constantFrom(
        '',
        '"',
        '\\',
        ',',
        ':',
        '{',
        '}',
        '[',
        ']',
        '0',
        '-',
        '.',
        'e',
        'x',
        ' ',
        '\n',
        '\u0001',
      ),
      fc.constantFrom('cut', 'replace', 'insert'),
    )
    .map(([text, where, character, how]) => {
      const at = where % (text.length + 1);
      if (how === 'cut') return text.slice(0, at);
      return text.slice(0, at) + character + text.slice(how === 'replace' ? at + 1 : at);
    });
  fc.assert(
    fc.property(spoilt, (text) => {
      const accepted = (parse: (text: string) => unknown): boolean => {
        try {
          parse(text);
          return true;
        } catch (error) {
          if (error instanceof Error && error.name.endsWith('SyntaxError')) return false;
          throw error;
        }
      };
      return accepted(parseJson) === accepted(JSON.parse);
    }),
    { numRuns: 5000 },
  );
  t.end();
});
