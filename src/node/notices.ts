// What is wrong now, what is odd now and what was put right. Logged when it begins and when it ends, not each time that
// it is seen.

import type { KerseyError } from '../errors.ts';
import type { Log } from '../observe/log.ts';

/** The same repair is told again after this many milliseconds at the earliest. */
const repairPause = 60_000;

export class Notices {
  readonly #log: Log;
  /** When which repair was last told, and how often it was done since. */
  readonly #repairs = new Map<string, { told: number; silent: number }>();
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

  /** Something was put right. Two programs that undo each other's work do not fill the log. */
  repaired(kind: string, what: string, now = performance.now()): void {
    const last = this.#repairs.get(what);
    if (last !== undefined && now - last.told < repairPause) {
      last.silent++;
      return;
    }
    const silent = last?.silent ?? 0;
    for (const [text, { told }] of this.#repairs) if (now - told >= repairPause) this.#repairs.delete(text);
    this.#repairs.set(what, { told: now, silent: 0 });
    const again = silent === 0 ? '' : ` (and ${silent} times since it was last said)`;
    this.#log.warn(`repaired: ${what}${again}`, { kind });
  }
}
