// How a command ends that could not do its work: one line on stderr, `kersey: CODE: message; remedy` (or `flanneld: ...`), and a number.

import { KerseyError } from '../errors.ts';

/** @returns the exit code: 2 when the command line was wrong, otherwise 1 */
export function reportError(thrown: unknown, program: 'kersey' | 'flanneld' = 'kersey'): 1 | 2 {
  const error = KerseyError.from(thrown);
  process.stderr.write(`${program}: ${error.line}\n`);
  // A stack helps whoever mends Kersey, and nobody else.
  if ((process.env['KERSEY_DEBUG'] ?? '') !== '') process.stderr.write(`${stacks(thrown)}\n`);
  return error.code === 'USAGE' ? 2 : 1;
}

function stacks(thrown: unknown): string {
  const lines: string[] = [];
  for (let error = thrown; error instanceof Error; error = error.cause) {
    lines.push(`${lines.length === 0 ? '' : 'caused by '}${error.stack ?? error.message}`);
  }
  return lines.join('\n');
}
