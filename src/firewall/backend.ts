// What applies the rules: nftables.ts or iptables.ts.

import type { Family } from '../net/ip.ts';
import type { Dialect, FamilyRules } from './rules.ts';

export interface Backend {
  readonly dialect: Dialect;
  /** For people: `nft`, `iptables (legacy)`. */
  readonly name: string;
  /** Whether nf_tables keeps the rules, so that its generation tells of every change. */
  readonly inNfTables: boolean;
  /**
   * Reads what is there, and where it is not exactly `rules`, applies the whole set.
   * @returns what was different, one clause each
   * @throws KerseyError FIREWALL, TOOL_MISSING, TIMEOUT, INTERRUPTED
   */
  ensure(rules: readonly FamilyRules[], signal?: AbortSignal): Promise<readonly string[]>;
  /**
   * Removes everything of ours in these families.
   * @param pretend only looks
   * @returns what was removed
   */
  remove(families: readonly Family[], signal?: AbortSignal, pretend?: boolean): Promise<readonly string[]>;
}
