// JSON text, with errors that say where.
//
// Values come from JSON.parse. Beside it runs a scanner of the same grammar, for two things JSON.parse does not tell:
// the line and column of a mistake (V8's messages give them for some mistakes, in some versions), and keys that occur
// twice in one object, of which JSON.parse silently keeps the last.

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

export interface JsonText {
  readonly value: JsonValue;
  /** Paths of keys that occur more than once in one object. */
  readonly duplicates: readonly (readonly string[])[];
}

/** Deeper nesting is refused: nothing here needs it, and a recursive reader must end somewhere. */
const maxDepth = 100;

export class JsonSyntaxError extends Error {
  override readonly name = 'JsonSyntaxError';
  readonly line: number;
  readonly column: number;

  constructor(text: string, offset: number, reason: string) {
    super(reason);
    const before = text.slice(0, offset);
    this.line = before.split('\n').length;
    this.column = offset - before.lastIndexOf('\n');
  }
}

/** @throws JsonSyntaxError */
export function parseJson(text: string): JsonText {
  const scanner = new Scanner(text);
  scanner.document();
  return { value: JSON.parse(text) as JsonValue, duplicates: scanner.duplicates };
}

export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `config.Backend.VNI`, `leases["10.5.1.0-24"]`: a place in a document, as one would write it in a program. */
export function keyPath(...keys: readonly string[]): string {
  return keys.reduce((path, key) => {
    if (/^[A-Za-z_$][\w$]*$/.test(key)) return path === '' ? key : `${path}.${key}`;
    return `${path}[${JSON.stringify(key)}]`;
  }, '');
}

class Scanner {
  readonly duplicates: string[][] = [];
  readonly #text: string;
  readonly #path: string[] = [];
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): void {
    this.#value();
    if (this.#at < this.#text.length) this.#fail('expected the end of the text');
  }

  /** One value and the space around it. */
  #value(): void {
    this.#space();
    switch (this.#text[this.#at]) {
      case '{':
        this.#nested('}', (seen) => {
          this.#member(seen);
        });
        break;
      case '[':
        this.#nested(']', () => {
          this.#path.push('');
          this.#value();
          this.#path.pop();
        });
        break;
      case '"':
        this.#string();
        break;
      default:
        if (!this.#take(/(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.+-])/y)) {
          this.#fail('expected a value');
        }
    }
    this.#space();
  }

  #nested(close: '}' | ']', element: (seen: Set<string>) => void): void {
    if (this.#path.length >= maxDepth) this.#fail(`nested more than ${maxDepth} deep`);
    const seen = new Set<string>();
    this.#at++;
    this.#space();
    if (this.#text[this.#at] === close) {
      this.#at++;
      return;
    }
    for (;;) {
      element(seen);
      const next = this.#text[this.#at];
      if (next !== ',' && next !== close) this.#fail(`expected ',' or '${close}'`);
      this.#at++;
      if (next === close) return;
    }
  }

  #member(seen: Set<string>): void {
    this.#space();
    if (this.#text[this.#at] !== '"') this.#fail('expected a key in double quotes');
    const key = this.#string();
    this.#space();
    if (this.#text[this.#at] !== ':') this.#fail("expected ':'");
    this.#at++;
    this.#path.push(key);
    if (seen.has(key)) this.duplicates.push([...this.#path]);
    seen.add(key);
    this.#value();
    this.#path.pop();
  }

  #string(): string {
    const start = this.#at;
    this.#at++;
    for (;;) {
      this.#take(/[^"\\\u0000-\u001f]+/y);
      const next = this.#text[this.#at];
      if (next === '"') break;
      if (next === undefined) this.#fail('the string has no end');
      if (next !== '\\') this.#fail('a control character in a string must be escaped');
      if (!this.#take(/\\(?:["\\/bfnrt]|u[\da-fA-F]{4})/y)) this.#fail('not an escape');
    }
    this.#at++;
    return JSON.parse(this.#text.slice(start, this.#at)) as string;
  }

  #space(): void {
    this.#take(/[ \t\n\r]+/y);
  }

  #take(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    if (!pattern.test(this.#text)) return false;
    this.#at = pattern.lastIndex;
    return true;
  }

  #fail(reason: string): never {
    const ended = this.#at >= this.#text.length;
    throw new JsonSyntaxError(this.#text, this.#at, ended ? `the text ends here; ${reason}` : reason);
  }
}
