// The command line of `npm run bench`.

import { parseArgs } from 'node:util';
import { KerseyError } from '../../src/errors.ts';

/** net brings scale along: the targets are about both. control and repair are run when they are named. */
const known = ['micro', 'net', 'scale', 'control', 'repair'] as const;
export type BenchPart = (typeof known)[number];

/** targets: what the targets compare, and nothing else. */
export type Length = 'full' | 'targets' | 'quick';

export interface Arguments {
  readonly length: Length;
  readonly profile: boolean;
  readonly parts: readonly BenchPart[];
  /** Contenders to run; all when empty. */
  readonly only: readonly string[];
}

const usage =
  'use [--quick | --targets] [--profile] [--only CONTENDER]... [micro] [net] [scale] [control] [repair]';

export function argumentsOf(argv: readonly string[], contenders: readonly string[]): Arguments {
  const { values, positionals } = parse(argv);
  refuseUnknown('part', positionals, known);
  refuseUnknown('contender', values.only, contenders);
  const { quick, targets, only } = values;
  if (quick && targets)
    throw new KerseyError('USAGE', '--quick and --targets are two plans', { remedy: usage });
  const length = quick ? 'quick' : targets ? 'targets' : 'full';
  const asked = positionals.length === 0 ? ['micro', 'net'] : positionals;
  const parts = known.filter((part) => wants(part, asked, only));
  const whole = length === 'full' && only.length === 0 && parts.includes('net');
  return { length, parts, only, profile: values.profile || whole };
}

function wants(part: BenchPart, asked: readonly string[], only: readonly string[]): boolean {
  return asked.includes(part) || (part === 'scale' && asked.includes('net') && only.length === 0);
}

function parse(argv: readonly string[]): {
  values: { quick: boolean; targets: boolean; profile: boolean; only: string[] };
  positionals: string[];
} {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        quick: { type: 'boolean', default: false },
        targets: { type: 'boolean', default: false },
        profile: { type: 'boolean', default: false },
        only: { type: 'string', multiple: true, default: [] },
      },
    });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new KerseyError('USAGE', message, { remedy: usage, cause });
  }
}

function refuseUnknown(kind: string, words: readonly string[], all: readonly string[]): void {
  const unknown = words.find((word) => !all.includes(word));
  if (unknown === undefined) return;
  throw new KerseyError('USAGE', `unknown ${kind} '${unknown}'`, { remedy: `use one of: ${all.join(', ')}` });
}
