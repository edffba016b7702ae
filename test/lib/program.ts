import { fileURLToPath } from 'node:url';
import { sourceCommand } from '../../src/lab/self.ts';

/** The command line of a program of test/lib. */
export function testProgram(name: string): readonly string[] {
  return sourceCommand(fileURLToPath(new URL(`${name}.ts`, import.meta.url)));
}
