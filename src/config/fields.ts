// How one object of the configuration is read: Go's rules for keys, a schema for the values, and messages that name
// the key by its path, `config.Backend.VNI`.

import * as v from 'valibot';
import { KerseyError } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import { tryParseCidr, parseCidr } from '../net/cidr.ts';
import type { Cidr } from '../net/cidr.ts';
import { parseIp, tryParseIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';

// The message of a schema says what is wanted; FieldReader puts the path and what is there before it.

export const flag = v.boolean('true or false');

export function wholeNumber(min: number, max: number): v.GenericSchema<unknown, number> {
  const wanted = `a whole number from ${min} to ${max}`;
  return v.pipe(
    v.unknown(),
    v.number(wanted),
    v.integer(wanted),
    v.minValue(min, wanted),
    v.maxValue(max, wanted),
  );
}

export function networkText(family: Family, example: string): v.GenericSchema<unknown, Cidr> {
  const wanted = `an IPv${family} network such as "${example}"`;
  return v.pipe(
    v.unknown(),
    v.string(wanted),
    v.check((text) => tryParseCidr(text)?.family === family, wanted),
    v.transform(parseCidr),
  );
}

export function addressText(family: Family, example: string): v.GenericSchema<unknown, bigint> {
  const wanted = `an IPv${family} address such as "${example}"`;
  return v.pipe(
    v.unknown(),
    v.string(wanted),
    v.check((text) => tryParseIp(text)?.family === family, wanted),
    v.transform((text) => parseIp(text).value),
  );
}

export class FieldReader {
  readonly #source: string | undefined;

  /** @param source where the configuration was read, for messages: a file name, for example */
  constructor(source?: string) {
    this.#source = source;
  }

  fail(code: ErrorCode, problem: string, remedy: string): never {
    throw new KerseyError(code, this.#source === undefined ? problem : `${this.#source}: ${problem}`, {
      remedy,
    });
  }

  invalid(problem: string, remedy: string): never {
    this.fail('CONFIG_INVALID', problem, remedy);
  }

  /** The members that the schema names, with its defaults. */
  read<const T extends v.ObjectEntries>(
    schema: v.ObjectSchema<T, undefined>,
    value: JsonValue,
    path: string,
  ): v.InferOutput<v.ObjectSchema<T, undefined>> {
    if (!isJsonObject(value)) {
      this.invalid(`${path} is ${show(value)}, not an object`, 'write an object: {"key": value, ...}');
    }
    const result = v.safeParse(schema, foldKeys(value, Object.keys(schema.entries)));
    if (result.success) return result.output;
    const issue = result.issues[0];
    const key = v.getDotPath(issue) ?? '';
    const entry = schema.entries[key];
    const hasDefault = entry !== undefined && v.getDefault(entry) !== undefined;
    this.invalid(
      `${path}.${key} is ${show(issue.input as JsonValue)}, not ${issue.message}`,
      hasDefault ? 'correct it, or leave the key out for its default' : 'correct it',
    );
  }
}

/** The object with keys that match a name in any case written as that name. Of several the last one counts. */
export function foldKeys(object: JsonObject, names: readonly string[]): JsonObject {
  const byFold = new Map(names.map((name) => [name.toLowerCase(), name]));
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => [byFold.get(key.toLowerCase()) ?? key, value]),
  );
}

/** A value of the file as part of a message. */
export function show(value: JsonValue): string {
  const text = JSON.stringify(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
}
