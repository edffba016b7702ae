// The rules by iptables, in flannel's chains, with flannel's texts: one `iptables-save` a family to see what is there, and,
// where it is not as it should be, one `iptables-restore --noflush`, which changes each table at once.
//
// There are two families of programs, `iptables` and `ip6tables`, and for each two kinds: those of nf_tables and the legacy
// ones, which keep their rules elsewhere and see nothing of each other's. The plain name is one of the two.

import { KerseyError } from '../errors.ts';
import type { Family } from '../net/ip.ts';
import type { Backend } from './backend.ts';
import { changeTo, forwardPolicy, parseSave } from './iptables-text.ts';
import type { Change } from './iptables-text.ts';
import { withoutFullyRandom } from './rules.ts';
import type { FamilyRules } from './rules.ts';
import { lastWords, runTool } from './tool.ts';

export type IptablesName = 'iptables' | 'iptables-nft' | 'iptables-legacy';
export type IptablesKind = 'nf_tables' | 'legacy';

/** For the lock that all of them share (iptables-restore 1.6.2). Shorter than what a program is given to run. */
const wait = '--wait=5';

export class Iptables implements Backend {
  readonly dialect = 'iptables';
  readonly kind: IptablesKind;
  readonly #command: IptablesName;
  /** Whether it knows --wait, and --random-fully; found out by using them. */
  #waits: boolean | undefined;
  #random = true;

  private constructor(command: IptablesName, kind: IptablesKind) {
    this.#command = command;
    this.kind = kind;
  }

  /** @throws KerseyError TOOL_MISSING, FIREWALL */
  static async find(command: IptablesName, signal?: AbortSignal): Promise<Iptables> {
    const result = await runTool([command, '--version'], { signal });
    if (result.code !== 0) throw failure(command, lastWords(result));
    // Before 1.8 there was one kind and no word for it.
    return new Iptables(command, result.stdout.includes('(nf_tables)') ? 'nf_tables' : 'legacy');
  }

  get name(): string {
    return `iptables (${this.kind})`;
  }

  get inNfTables(): boolean {
    return this.kind === 'nf_tables';
  }

  async ensure(rules: readonly FamilyRules[], signal?: AbortSignal): Promise<readonly string[]> {
    const all: string[] = [];
    for (const family of rules) {
      const { differences } = (await this.#bring(family, signal)) ?? { differences: [] };
      all.push(
        ...differences.map((difference) => `${programOf(this.#command, family.family)}: ${difference}`),
      );
    }
    return all;
  }

  async remove(
    families: readonly Family[],
    signal?: AbortSignal,
    pretend = false,
  ): Promise<readonly string[]> {
    const removed: string[] = [];
    for (const family of families) {
      const change = await this.#removeFrom(family, pretend, signal);
      if (change !== undefined)
        removed.push(`the rules of ${programOf(this.#command, family)} (${this.kind})`);
    }
    return removed;
  }

  /** Of the families, those whose FORWARD drops what no rule accepts. */
  async droppingForward(families: readonly Family[], signal?: AbortSignal): Promise<readonly Family[]> {
    const dropping: Family[] = [];
    for (const family of families) {
      const text = await this.#save(family, signal);
      if (forwardPolicy(parseSave(text)) === 'DROP') dropping.push(family);
    }
    return dropping;
  }

  async #removeFrom(
    family: Family,
    pretend: boolean,
    signal: AbortSignal | undefined,
  ): Promise<Change | undefined> {
    try {
      if (pretend)
        return changeTo(parseSave(await this.#save(family, signal)), { family, masquerade: [], forward: [] });
      return await this.#bring({ family, masquerade: [], forward: [] }, signal);
    } catch (error) {
      // Where there is no IPv6 there are no rules of it.
      if (family === 6 && error instanceof KerseyError && error.code !== 'INTERRUPTED') return undefined;
      throw error;
    }
  }

  async #bring(rules: FamilyRules, signal: AbortSignal | undefined): Promise<Change | undefined> {
    const saved = parseSave(await this.#save(rules.family, signal));
    const plain = withoutFullyRandom(rules);
    const change = changeTo(saved, this.#random ? rules : plain);
    if (change === undefined) return undefined;
    try {
      await this.#restore(rules.family, change.payload, signal);
    } catch (error) {
      if (!this.#random || !(error instanceof KerseyError) || error.code !== 'FIREWALL') throw error;
      // It may have been --random-fully.
      const other = changeTo(saved, plain);
      if (other === undefined || other.payload === change.payload) throw error;
      await this.#restore(rules.family, other.payload, signal);
      this.#random = false;
    }
    return change;
  }

  async #save(family: Family, signal: AbortSignal | undefined): Promise<string> {
    const program = `${programOf(this.#command, family)}-save`;
    const result = await runTool([program], { signal });
    if (result.code !== 0) throw failure(program, lastWords(result));
    return result.stdout;
  }

  async #restore(family: Family, input: string, signal: AbortSignal | undefined): Promise<void> {
    const program = `${programOf(this.#command, family)}-restore`;
    this.#waits ??= (await runTool([program, '--noflush', wait], { signal })).code === 0;
    const argv = [program, '--noflush', ...(this.#waits ? [wait] : [])];
    const result = await runTool(argv, { input, signal });
    if (result.code !== 0) throw failure(program, lastWords(result));
  }
}

function programOf(command: IptablesName, family: Family): string {
  return family === 4 ? command : command.replace('iptables', 'ip6tables');
}

function failure(program: string, reason: string): KerseyError {
  return new KerseyError('FIREWALL', `${program}: ${reason}`, {
    remedy: 'see `iptables-save`',
  });
}
