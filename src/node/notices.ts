// What is wrong now and what is odd now. Logged when it begins and when it ends, not each time that it is seen.

import type { KerseyError } from '../errors.ts';
import type { Log } from '../observe/log.ts';

export class Notices {
  readonly #log: Log;
  #problems: ReadonlyMap<string, KerseyError> = new Map();
  #warnings: ReadonlySet<string> = new Set();

  constructor(log: Log) {
    this.#log = log;
  }

  get problems(): readonly KerseyError[] {
    return [...this.#problems.values()];
  }

  get warnings(): readonly string[] {
    return [...this.#warnings];
  }

  /** Everything that is wrong or odd at this moment; what is missing from it is over. */
  replace(problems: readonly KerseyError[], warnings: readonly string[]): void {
    const before = this.#problems;
    const odd = this.#warnings;
    this.#problems = new Map(problems.map((problem) => [problem.line, problem]));
    this.#warnings = new Set(warnings);
    for (const [line, { code }] of this.#problems) if (!before.has(line)) this.#log.error(line, { code });
    for (const [line, { code }] of before)
      if (!this.#problems.has(line)) this.#log.info(`over: ${line}`, { code });
    for (const warning of this.#warnings) if (!odd.has(warning)) this.#log.warn(warning);
    for (const warning of odd) if (!this.#warnings.has(warning)) this.#log.info(`over: ${warning}`);
  }
}
