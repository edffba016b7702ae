// Command lines as Go's `flag` package reads them, from a table of flags.
//
//   -x v   --x v   -x=v   --x=v      a flag with a value; the next argument is taken whatever it looks like
//   -b     -b=true -b=0              a bool takes no next argument, and its values are those of strconv.ParseBool
//   --                               ends the flags; so does the first argument that is no flag
//
// A number is what strconv.ParseInt reads in base 0: 10, -3, 0x1f, 0o17, 017, 0b11, 1_000. The messages are Go's.
// Given twice, the last one counts, but for a list, which takes both.
//
// The environment comes after, as coreos/pkg/flagutil reads it: only for flags that were not given, an empty variable
// is none, and a list gets one element. A value there that cannot be read is a warning, and the default stays.

import { KerseyError } from '../errors.ts';

export type FlagValue = boolean | number | string | readonly string[];

interface Described {
  readonly usage: string;
  /** What `--help` calls the value, when the type says too little. */
  readonly placeholder?: string;
  /** Never printed. */
  readonly secret?: boolean;
}

export type FlagSpec = Described &
  (
    | { readonly type: 'bool'; readonly default: boolean }
    | { readonly type: 'int'; readonly default: number }
    | { readonly type: 'string'; readonly default: string }
    | { readonly type: 'list'; readonly default: readonly string[] }
  );

export type FlagTable = Readonly<Record<string, FlagSpec>>;

interface TypeOf {
  readonly bool: boolean;
  readonly int: number;
  readonly string: string;
  readonly list: readonly string[];
}

export type FlagValues<T extends FlagTable> = { readonly [K in keyof T]: TypeOf[T[K]['type']] };

export interface ParsedFlags<T extends FlagTable> {
  readonly values: FlagValues<T>;
  /** Flags that were given, on the command line or by the environment. */
  readonly given: ReadonlySet<keyof T & string>;
  /** The first argument that is no flag, and all after it. */
  readonly rest: readonly string[];
  /** -h or --help, which ends the reading. */
  readonly help: boolean;
}

/** @throws KerseyError USAGE */
export function parseGoFlags<const T extends FlagTable>(table: T, argv: readonly string[]): ParsedFlags<T> {
  const values: Record<string, FlagValue> = defaults(table);
  const given = new Set<string>();
  const done = (next: number, help = false): ParsedFlags<T> => ({
    // One value of its type for each flag of the table.
    values: values as FlagValues<T>,
    given,
    rest: argv.slice(next),
    help,
  });
  let at = 0;
  for (;;) {
    const argument = argv[at];
    if (argument === undefined || argument.length < 2 || !argument.startsWith('-')) return done(at);
    at++;
    if (argument === '--') return done(at);
    const name = argument.slice(argument.startsWith('--') ? 2 : 1);
    if (name === '' || name.startsWith('-') || name.startsWith('=')) {
      throw usage(`bad flag syntax: ${argument}`);
    }
    const [, flag = '', value] = /^([^=]+)(?:=(.*))?$/s.exec(name) ?? [];
    const spec = Object.hasOwn(table, flag) ? table[flag] : undefined;
    if (spec === undefined) {
      if (flag === 'help' || flag === 'h') return done(at, true);
      throw usage(`flag provided but not defined: -${flag}`);
    }
    let text = value;
    if (text === undefined && spec.type === 'bool') text = 'true';
    text ??= argv[at++];
    if (text === undefined) throw usage(`flag needs an argument: -${flag}`);
    const set = setFlag(spec, text, given.has(flag) ? values[flag] : undefined);
    if (typeof set === 'object' && 'problem' in set) {
      const shown = spec.secret === true ? '(secret)' : JSON.stringify(text);
      const what =
        spec.type === 'bool' ? `invalid boolean value ${shown} for` : `invalid value ${shown} for flag`;
      throw usage(`${what} -${flag}: ${set.problem}`);
    }
    values[flag] = set;
    given.add(flag);
  }
}

export interface FromEnvironment<T extends FlagTable> {
  readonly parsed: ParsedFlags<T>;
  readonly warnings: readonly string[];
}

/** Fills in, for flags that were not given, what `<prefix>_<NAME>` says. */
export function withEnvironment<const T extends FlagTable>(
  table: T,
  parsed: ParsedFlags<T>,
  prefix: string,
  environment: Readonly<Record<string, string | undefined>>,
): FromEnvironment<T> {
  const values: Record<string, FlagValue> = { ...parsed.values };
  const given = new Set<keyof T & string>(parsed.given);
  const warnings: string[] = [];
  for (const [flag, spec] of Object.entries(table)) {
    const name = variableName(prefix, flag);
    const text = environment[name] ?? '';
    if (given.has(flag) || text === '') continue;
    const set = setFlag(spec, text, undefined);
    if (typeof set === 'object' && 'problem' in set) {
      const shown = spec.secret === true ? '(secret)' : JSON.stringify(text);
      warnings.push(
        `${name} is ${shown}, which cannot be read (${set.problem}); the default ${String(spec.default)} is used`,
      );
      continue;
    }
    values[flag] = set;
    given.add(flag);
  }
  return { parsed: { ...parsed, values: values as FlagValues<T>, given }, warnings };
}

/** `FLANNELD_ETCD_ENDPOINTS` */
export function variableName(prefix: string, flag: string): string {
  return `${prefix}_${flag.toUpperCase().replaceAll(/[-.]/g, '_')}`;
}

/** `-name=value` of the flags asked for, in the order of the table; what is secret is hidden. */
export function showFlags<const T extends FlagTable>(
  table: T,
  values: FlagValues<T>,
  shown: (flag: keyof T & string) => boolean,
): string {
  return Object.entries(table)
    .filter(([flag]) => shown(flag))
    .flatMap(([flag, spec]) => {
      const value = (values as Record<string, FlagValue>)[flag] ?? '';
      const texts = Array.isArray(value) ? (value as readonly string[]) : [String(value)];
      if (spec.secret === true) return texts[0] === '' ? [`-${flag}=`] : [`-${flag}=(not shown)`];
      return texts.map((text) => `-${flag}=${withoutPasswords(text)}`);
    })
    .join(' ');
}

/** What Go's PrintDefaults prints. */
export function flagDefaults(table: FlagTable): string {
  return Object.entries(table)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([flag, spec]) => {
      const word = spec.placeholder ?? { bool: '', int: 'int', string: 'string', list: 'value' }[spec.type];
      const head = `  -${flag}${word === '' ? '' : ` ${word}`}`;
      // A bool of one letter has its text on the same line.
      const gap = head.length <= 4 ? '\t' : '\n    \t';
      return `${head}${gap}${spec.usage.replaceAll('\n', '\n    \t')}${defaultNote(spec)}\n`;
    })
    .join('');
}

function defaultNote(spec: FlagSpec): string {
  if (spec.type === 'list' || spec.default === '' || spec.default === 0 || spec.default === false) return '';
  return spec.type === 'string'
    ? ` (default ${JSON.stringify(spec.default)})`
    : ` (default ${String(spec.default)})`;
}

/** `https://user:word@host` carries a password as well, which may hold any character: up to the last @ nothing is shown. */
function withoutPasswords(text: string): string {
  return text.replace(/(?<!(?:^|,)https?):.*@/is, ':(not shown)@');
}

function defaults(table: FlagTable): Record<string, FlagValue> {
  return Object.fromEntries(Object.entries(table).map(([flag, spec]) => [flag, spec.default]));
}

/** @param before what earlier flags of the same name have given */
function setFlag(
  spec: FlagSpec,
  text: string,
  before: FlagValue | undefined,
): FlagValue | { readonly problem: string } {
  switch (spec.type) {
    case 'string':
      return text;
    case 'list':
      return [...(Array.isArray(before) ? (before as readonly string[]) : []), text];
    case 'bool':
      if (/^(?:1|t|T|TRUE|true|True)$/.test(text)) return true;
      if (/^(?:0|f|F|FALSE|false|False)$/.test(text)) return false;
      return { problem: 'parse error' };
    case 'int':
      return parseGoInt(text);
  }
}

function parseGoInt(text: string): number | { readonly problem: string } {
  const [, sign = '', digits = ''] = /^([+-]?)(.*)$/s.exec(text) ?? [];
  // An underscore stands between digits, or after the prefix of a base; and only where there is such a prefix or a 0.
  const wellFormed =
    /^(?:0|[1-9](?:_?\d)*)$/.test(digits) ||
    /^0x(?:_?[\da-f])+$/i.test(digits) ||
    /^0o(?:_?[0-7])+$/i.test(digits) ||
    /^0b(?:_?[01])+$/i.test(digits) ||
    /^0(?:_?[0-7])+$/.test(digits);
  if (!wellFormed) return { problem: 'parse error' };
  const plain = digits.replaceAll('_', '');
  const magnitude = BigInt(/^0\d/.test(plain) ? `0o${plain.slice(1)}` : plain.toLowerCase());
  const value = sign === '-' ? -magnitude : magnitude;
  if (value < -(2n ** 63n) || value >= 2n ** 63n) return { problem: 'value out of range' };
  return Number(value);
}

function usage(problem: string): KerseyError {
  return new KerseyError('USAGE', problem, { remedy: 'see --help' });
}
