// The rules by nft: flannel's tables, which hold nothing of anybody else's, made anew in one transaction whenever they are
// not as they should be.
//
// Not handled: chains of others that drop what these accept. An `accept` ends its own table's chain and no other; whoever
// chooses (choose.ts) asks for droppingForward().

import { parseJson } from '../config/json.ts';
import type { JsonValue } from '../config/json.ts';
import { KerseyError } from '../errors.ts';
import type { Family } from '../net/ip.ts';
import type { Backend } from './backend.ts';
import {
  deletionScript,
  droppingChains,
  nftFamily,
  ownTables,
  tableDifference,
  tableName,
  tableScript,
} from './nft-text.ts';
import type { DroppingChain } from './nft-text.ts';
import { withoutFullyRandom } from './rules.ts';
import type { FamilyRules } from './rules.ts';
import { lastWords, runTool } from './tool.ts';

/** What this kernel and this nft take; the first that works is kept. Comments are of Linux 5.10. */
interface Variant {
  readonly comments: boolean;
  readonly fullyRandom: boolean;
}

const variants: readonly Variant[] = [
  { comments: true, fullyRandom: true },
  { comments: false, fullyRandom: true },
  { comments: true, fullyRandom: false },
  { comments: false, fullyRandom: false },
];

export class Nftables implements Backend {
  readonly dialect = 'nft';
  readonly name = 'nft';
  readonly inNfTables = true;
  #variant: Variant | undefined;
  /** Whose table was listed last as something that is no JSON. */
  readonly #unreadable = new Set<Family>();

  async ensure(rules: readonly FamilyRules[], signal?: AbortSignal): Promise<readonly string[]> {
    const differences: string[] = [];
    for (const family of rules) {
      const difference = await this.#difference(family, signal);
      if (difference !== undefined) differences.push(`nft table ${tableName[family.family]}: ${difference}`);
    }
    if (differences.length > 0) await this.#apply(rules, signal);
    return differences;
  }

  async remove(
    families: readonly Family[],
    signal?: AbortSignal,
    pretend = false,
  ): Promise<readonly string[]> {
    const present = ownTables(await this.#list(['tables'], signal)).filter((one) => families.includes(one));
    if (present.length === 0) return [];
    if (!pretend) await this.#run(`${present.map(deletionScript).join('\n')}\n`, signal);
    return present.map((family) => `nft table ${tableName[family]}`);
  }

  /** Chains of others in which our `accept` counts for nothing. */
  async droppingForward(
    families: readonly Family[],
    signal?: AbortSignal,
  ): Promise<readonly DroppingChain[]> {
    return droppingChains(await this.#list(['chains'], signal), families);
  }

  async #difference(rules: FamilyRules, signal: AbortSignal | undefined): Promise<string | undefined> {
    const { family } = rules;
    const wanted = rules.masquerade.length + rules.forward.length > 0;
    // Two lists in one command confuse the cache of nft 1.0.6.
    const argv = ['nft', '-j', 'list', 'table', nftFamily[family], tableName[family]];
    const result = await runTool(argv, { signal });
    if (result.code !== 0) {
      if (result.stderr.includes('No such file or directory')) return wanted ? 'it was gone' : undefined;
      throw failure(lastWords(result));
    }
    if (!wanted) return 'it was there';
    // So nft 1.0.6 lists a table with flags. When the same is said of one that we have just made, the reason is another.
    try {
      const listing = jsonOf(result.stdout);
      this.#unreadable.delete(family);
      return tableDifference(listing, this.#taken(rules));
    } catch (error) {
      if (this.#unreadable.has(family)) throw error;
      this.#unreadable.add(family);
      return 'it could not be read';
    }
  }

  async #apply(rules: readonly FamilyRules[], signal: AbortSignal | undefined): Promise<void> {
    let first: unknown;
    for (const variant of this.#variant === undefined ? variants : [this.#variant]) {
      try {
        await this.#run(script(rules, variant), signal);
        this.#variant = variant;
        return;
      } catch (error) {
        if (!(error instanceof KerseyError) || error.code !== 'FIREWALL') throw error;
        first ??= error;
      }
    }
    throw first;
  }

  /** The rules as this variant has them. */
  #taken(rules: FamilyRules): FamilyRules {
    return this.#variant?.fullyRandom === false ? withoutFullyRandom(rules) : rules;
  }

  async #run(input: string, signal: AbortSignal | undefined): Promise<void> {
    const result = await runTool(['nft', '-f', '-'], { input, signal });
    if (result.code !== 0) throw failure(lastWords(result));
  }

  async #list(what: readonly string[], signal: AbortSignal | undefined): Promise<JsonValue> {
    const result = await runTool(['nft', '-j', 'list', ...what], { signal });
    if (result.code !== 0) throw failure(lastWords(result));
    return jsonOf(result.stdout);
  }
}

function script(rules: readonly FamilyRules[], { comments, fullyRandom }: Variant): string {
  return rules
    .map((family) => {
      if (family.masquerade.length + family.forward.length === 0) return `${deletionScript(family.family)}\n`;
      return tableScript(fullyRandom ? family : withoutFullyRandom(family), comments);
    })
    .join('');
}

function jsonOf(text: string): JsonValue {
  try {
    return parseJson(text).value;
  } catch (cause) {
    throw failure('it does not list rules as JSON', cause);
  }
}

function failure(reason: string, cause?: unknown): KerseyError {
  return new KerseyError('FIREWALL', `nft: ${reason}`, {
    remedy: 'see `nft list ruleset`',
    cause,
  });
}
