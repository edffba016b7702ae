// iptables' language, both ways: what `iptables-restore --noflush` reads, and what `iptables-save` writes.
//
// Of each table two things are ours: a chain, all of it, and one rule in a built-in chain that jumps there. The jump stands
// where it was appended; others may stand before or behind it, and its place is left alone.

import { formatCidr, tryParseCidr } from '../net/cidr.ts';
import type { Family } from '../net/ip.ts';
import { addressBits } from '../net/ip.ts';
import { exemptMark, sameRules } from './rules.ts';
import type { FamilyRules, Rule, Side, Verdict } from './rules.ts';

interface Part {
  readonly table: string;
  /** The built-in chain. */
  readonly hook: string;
  readonly chain: string;
  readonly comment: string;
  readonly rules: (family: FamilyRules) => readonly Rule[];
}

const parts: readonly Part[] = [
  {
    table: 'nat',
    hook: 'POSTROUTING',
    chain: 'FLANNEL-POSTRTG',
    comment: 'flanneld masq',
    rules: ({ masquerade }) => masquerade,
  },
  {
    table: 'filter',
    hook: 'FORWARD',
    chain: 'FLANNEL-FWD',
    comment: 'flanneld forward',
    rules: ({ forward }) => forward,
  },
];

const mark = `0x${exemptMark.toString(16)}`;

const verdicts: Readonly<Record<Verdict, string>> = {
  return: 'RETURN',
  accept: 'ACCEPT',
  masquerade: 'MASQUERADE',
  'masquerade fully-random': 'MASQUERADE --random-fully',
};

/** All rules of a family as flannel writes them, in its order. */
export function iptablesRuleTexts(family: FamilyRules): readonly string[] {
  return parts.flatMap((part) => {
    const rules = part.rules(family);
    return rules.length === 0 ? [] : [jumpText(part), ...rules.map((rule) => ruleText(rule, part))];
  });
}

function jumpText({ hook, chain, comment }: Part): string {
  return `-A ${hook} -m comment --comment "${comment}" -j ${chain}`;
}

function ruleText({ marked, source, destination, verdict }: Rule, { chain, comment }: Part): string {
  const side = (option: string, { net, not }: Side): string => `${not ? '! ' : ''}${option} ${net}`;
  return [
    `-A ${chain}`,
    ...(marked ? [`-m mark --mark ${mark}/${mark}`] : []),
    ...(source ? [side('-s', source)] : []),
    ...(destination ? [side('-d', destination)] : []),
    `-m comment --comment "${comment}"`,
    `-j ${verdicts[verdict]}`,
  ].join(' ');
}

/** What `iptables-save` tells of one table. */
interface SavedTable {
  readonly name: string;
  /** Chains and their policies; `-` is a chain that somebody made. */
  readonly chains: Map<string, string>;
  readonly rules: SavedRule[];
}

interface SavedRule {
  readonly chain: string;
  /** Behind `-A <chain> `, as it was written. */
  readonly specification: string;
  readonly words: readonly string[];
}

export type Saved = ReadonlyMap<string, SavedTable>;

export function parseSave(text: string): Saved {
  const tables = new Map<string, SavedTable>();
  let table: SavedTable | undefined;
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) {
      table = { name: line.slice(1).trim(), chains: new Map(), rules: [] };
      tables.set(table.name, table);
    }
    const chain = /^:(\S+) (\S+)/.exec(line);
    if (chain?.[1] !== undefined && chain[2] !== undefined) table?.chains.set(chain[1], chain[2]);
    const rule = /^(?:\[\d+:\d+\] )?-A (\S+) ?(.*)$/.exec(line);
    if (rule?.[1] !== undefined && rule[2] !== undefined) {
      table?.rules.push({ chain: rule[1], specification: rule[2], words: splitWords(rule[2]) });
    }
  }
  return tables;
}

/** What has to be done to have exactly these rules; undefined when nothing has to. */
export interface Change {
  /** What was different, one clause each. */
  readonly differences: readonly string[];
  /** For `iptables-restore --noflush`. */
  readonly payload: string;
}

export function changeTo(saved: Saved, family: FamilyRules): Change | undefined {
  const differences: string[] = [];
  const tables = parts.map((part) => {
    const rules = part.rules(family);
    const found = lookAt(saved, part);
    if (rules.length === 0) {
      if (!found.chain && found.jumps.length === 0) return { part, found, rules, difference: undefined };
      return { part, found, rules, difference: `the chain ${part.chain} was there` };
    }
    return { part, found, rules, difference: differenceOf(found, rules, part, family.family) };
  });
  for (const { difference } of tables) if (difference !== undefined) differences.push(difference);
  if (differences.length === 0) return undefined;
  // The whole set, also of the table that is in order: it is one text, and a chain that is as it was does no harm.
  const payload = tables.map(({ part, found, rules }) => tablePayload(part, found, rules)).join('');
  return { differences, payload };
}

/** The policy of FORWARD: what happens to packets that no rule decides about. */
export function forwardPolicy(saved: Saved): string | undefined {
  return saved.get('filter')?.chains.get('FORWARD');
}

interface Found {
  /** Whether our chain is there. */
  readonly chain: boolean;
  readonly rules: readonly SavedRule[];
  /** Rules of the built-in chain that lead to ours. */
  readonly jumps: readonly SavedRule[];
  /** Whether other chains lead to ours: then it cannot be deleted. */
  readonly strangers: boolean;
}

function lookAt(saved: Saved, { table, hook, chain }: Part): Found {
  const found = saved.get(table);
  const leading = (found?.rules ?? []).filter(({ words }) =>
    words.some((word, i) => word === chain && (words[i - 1] === '-j' || words[i - 1] === '-g')),
  );
  return {
    chain: found?.chains.has(chain) ?? false,
    rules: (found?.rules ?? []).filter((rule) => rule.chain === chain),
    jumps: leading.filter((rule) => rule.chain === hook),
    strangers: leading.some((rule) => rule.chain !== hook),
  };
}

function differenceOf(found: Found, rules: readonly Rule[], part: Part, family: Family): string | undefined {
  const { chain, hook } = part;
  if (!found.chain) return `the chain ${chain} was gone`;
  if (found.jumps.length === 0) return `the jump from ${hook} to ${chain} was gone`;
  if (found.jumps.length > 1) return `there were ${found.jumps.length} jumps from ${hook} to ${chain}`;
  if (!isJump(found.jumps[0], part)) return `the jump from ${hook} to ${chain} was another`;
  const present = found.rules.map(({ words }) => parseRule(words, part, family));
  return sameRules(present, rules) ? undefined : `the rules of the chain ${chain} were others`;
}

function isJump(rule: SavedRule | undefined, { comment, chain }: Part): boolean {
  const wanted = ['-m', 'comment', '--comment', comment, '-j', chain];
  return rule?.words.length === wanted.length && wanted.every((word, i) => rule.words[i] === word);
}

function tablePayload(part: Part, found: Found, rules: readonly Rule[]): string {
  const { table, hook, chain } = part;
  if (rules.length === 0 && !found.chain) return '';
  const keep = rules.length > 0 && found.jumps.length === 1 && isJump(found.jumps[0], part);
  const lines = [
    `*${table}`,
    // Makes the chain, or empties it.
    `:${chain} - [0:0]`,
    ...(keep ? [] : found.jumps.map(({ specification }) => `-D ${hook} ${specification}`)),
    ...(rules.length === 0
      ? found.strangers
        ? []
        : [`-X ${chain}`]
      : [...(keep ? [] : [jumpText(part)]), ...rules.map((rule) => ruleText(rule, part))]),
    'COMMIT',
  ];
  return `${lines.join('\n')}\n`;
}

/** undefined for a rule that is none of ours. */
function parseRule(words: readonly string[], part: Part, family: Family): Rule | undefined {
  let marked = false;
  let source: Side | undefined;
  let destination: Side | undefined;
  let verdict: Verdict | undefined;
  let not = false;
  for (let i = 0; i < words.length; i++) {
    const [word, next] = [words[i], words[i + 1]];
    if (word === '!' && (next === '-s' || next === '-d') && !not) {
      not = true;
      continue;
    }
    if (word === '-s' || word === '-d') {
      const net = parseNet(next, family);
      if (net === undefined) return undefined;
      if (word === '-s') source = { net, not };
      else destination = { net, not };
      not = false;
      i++;
    } else if (word === '-m' && next === 'mark' && words[i + 2] === '--mark') {
      if (words[i + 3] !== `${mark}/${mark}`) return undefined;
      marked = true;
      i += 3;
    } else if (word === '-m' && next === 'comment' && words[i + 2] === '--comment') {
      if (words[i + 3] !== part.comment) return undefined;
      i += 3;
    } else if (word === '-j' && verdict === undefined) {
      const rest = words.slice(i + 1).join(' ');
      verdict = ([...Object.entries(verdicts)] as [Verdict, string][]).find(([, text]) => text === rest)?.[0];
      if (verdict === undefined) return undefined;
      break;
    } else {
      return undefined;
    }
  }
  return verdict === undefined ? undefined : { marked, source, destination, verdict };
}

function parseNet(text: string | undefined, family: Family): string | undefined {
  if (text === undefined) return undefined;
  const cidr = tryParseCidr(text.includes('/') ? text : `${text}/${addressBits(family)}`);
  return cidr?.family === family ? formatCidr(cidr) : undefined;
}

/** Words are parted by blanks; one with blanks in it stands in double quotes, in which a backslash goes before some. */
function splitWords(text: string): readonly string[] {
  return [...text.matchAll(/"((?:\\.|[^"\\])*)"|(\S+)/g)].map(
    ([, quoted, plain]) => quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '',
  );
}
