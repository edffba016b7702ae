import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

/** "not installed: a, b", or undefined when all of them are in the PATH. */
export function missingPrograms(...programs: readonly string[]): Promise<string | undefined> {
  const missing = programs.filter((program) => !isInstalled(program));
  return Promise.resolve(missing.length === 0 ? undefined : `not installed: ${missing.join(', ')}`);
}

function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
