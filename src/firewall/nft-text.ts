// nft's language, both ways: the script that makes a table, and the JSON in which nft tells what is there.

import { isJsonObject } from '../config/json.ts';
import type { JsonObject, JsonValue } from '../config/json.ts';
import { formatCidr, tryParseCidr } from '../net/cidr.ts';
import type { Family } from '../net/ip.ts';
import { addressBits } from '../net/ip.ts';
import { exemptMark, sameRules } from './rules.ts';
import type { FamilyRules, Rule, Side, Verdict } from './rules.ts';

/** flannel's tables and chains, by their nft names. */
export const nftFamily: Readonly<Record<Family, 'ip' | 'ip6'>> = { 4: 'ip', 6: 'ip6' };
export const tableName: Readonly<Record<Family, string>> = { 4: 'flannel-ipv4', 6: 'flannel-ipv6' };

interface ChainHead {
  readonly name: string;
  readonly type: string;
  readonly hook: string;
  /** In numbers, which every nft takes: 100 is srcnat, 0 is filter. */
  readonly prio: number;
  readonly comment: string;
}

const masqueradeChain: ChainHead = {
  name: 'postrtg',
  type: 'nat',
  hook: 'postrouting',
  prio: 100,
  comment: 'chain to manage traffic masquerading by flannel',
};
const forwardChain: ChainHead = {
  name: 'forward',
  type: 'filter',
  hook: 'forward',
  prio: 0,
  comment: 'chain to accept flannel traffic',
};

export function nftRuleText(rule: Rule, family: Family): string {
  const ip = nftFamily[family];
  const side = (field: string, { net, not }: Side): string => `${ip} ${field} ${not ? '!= ' : ''}${net}`;
  return [
    ...(rule.marked ? [`meta mark 0x${exemptMark.toString(16)}`] : []),
    ...(rule.source ? [side('saddr', rule.source)] : []),
    ...(rule.destination ? [side('daddr', rule.destination)] : []),
    rule.verdict,
  ].join(' ');
}

/** One table, made anew whatever was there. The statements of several tables are one transaction. */
export function tableScript(rules: FamilyRules, withComments: boolean): string {
  const { family } = rules;
  const table = `${nftFamily[family]} ${tableName[family]}`;
  const chain = (
    { name, type, hook, prio, comment }: ChainHead,
    list: readonly Rule[],
  ): readonly string[] => [
    `  chain ${name} {`,
    ...(withComments ? [`    comment "${comment}"`] : []),
    `    type ${type} hook ${hook} priority ${prio}; policy accept;`,
    ...list.map((rule) => `    ${nftRuleText(rule, family)}`),
    '  }',
  ];
  const lines = [
    deletionScript(family),
    `table ${table} {`,
    ...(withComments ? [`  comment "rules for ${tableName[family]}"`] : []),
    ...(rules.masquerade.length > 0 ? chain(masqueradeChain, rules.masquerade) : []),
    ...(rules.forward.length > 0 ? chain(forwardChain, rules.forward) : []),
    '}',
  ];
  return `${lines.join('\n')}\n`;
}

/** That the table be gone, whether it is there or not. */
export function deletionScript(family: Family): string {
  const table = `${nftFamily[family]} ${tableName[family]}`;
  return `table ${table} {\n}\ndelete table ${table}`;
}

/** How `nft -j list table ...` differs from what it should be; undefined when it does not. */
export function tableDifference(listing: JsonValue, rules: FamilyRules): string | undefined {
  const found = objectsOf(listing);
  const tables = found.map((object) => object['table']).filter(isJsonObject);
  // We set none. Of their names nft 1.0.6 prints what happens to be in memory.
  if (tables.some(({ flags }) => flags !== undefined)) return 'it had flags, and may have been dormant';
  const heads = found.map((object) => object['chain']).filter(isJsonObject);
  const wanted = [
    [masqueradeChain, rules.masquerade] as const,
    [forwardChain, rules.forward] as const,
  ].filter(([, list]) => list.length > 0);
  for (const [head, list] of wanted) {
    const chain = heads.find(({ name }) => name === head.name);
    if (chain === undefined) return `the chain ${head.name} was gone`;
    if (chain['type'] !== head.type || chain['hook'] !== head.hook || chain['prio'] !== head.prio) {
      return `the chain ${head.name} was another`;
    }
    if (chain['policy'] !== 'accept') return `the chain ${head.name} had another policy`;
    const present = found
      .map((object) => object['rule'])
      .filter(isJsonObject)
      .filter((rule) => rule['chain'] === head.name)
      .map((rule) => parseRule(rule['expr'], rules.family));
    if (!sameRules(present, list)) return `the rules of the chain ${head.name} were others`;
  }
  const foreign = heads.find(({ name }) => !wanted.some(([head]) => head.name === name));
  return foreign === undefined ? undefined : `there was a chain ${textOf(foreign['name'])}`;
}

/** Chains of others that drop what they forward unless a rule of theirs accepts it, from `nft -j list chains`. */
export function droppingChains(listing: JsonValue, families: readonly Family[]): readonly DroppingChain[] {
  return objectsOf(listing)
    .map((object) => object['chain'])
    .filter(isJsonObject)
    .filter(({ hook, policy }) => hook === 'forward' && policy === 'drop')
    .filter(({ family }) => family === 'inet' || families.some((one) => nftFamily[one] === family))
    .map(({ family, table, name }) => ({
      name: [family, table, name].map(String).join(' '),
      ofIptables: family !== 'inet' && table === 'filter' && name === 'FORWARD',
    }));
}

export interface DroppingChain {
  /** `ip filter FORWARD` */
  readonly name: string;
  /** It is the one that iptables calls FORWARD. */
  readonly ofIptables: boolean;
}

/** The tables of ours, from `nft -j list tables`. */
export function ownTables(listing: JsonValue): readonly Family[] {
  const tables = objectsOf(listing)
    .map((object) => object['table'])
    .filter(isJsonObject);
  return ([4, 6] as const).filter((family) =>
    tables.some(({ family: ip, name }) => ip === nftFamily[family] && name === tableName[family]),
  );
}

function objectsOf(listing: JsonValue): readonly JsonObject[] {
  return (listOf(isJsonObject(listing) ? listing['nftables'] : undefined) ?? []).filter(isJsonObject);
}

/** undefined for a rule that is none of ours. */
function parseRule(expression: JsonValue | undefined, family: Family): Rule | undefined {
  const parts = listOf(expression);
  if (parts === undefined) return undefined;
  let marked = false;
  let source: Side | undefined;
  let destination: Side | undefined;
  let verdict: Verdict | undefined;
  for (const part of parts) {
    if (!isJsonObject(part) || verdict !== undefined) return undefined;
    const match = part['match'];
    if (match === undefined) {
      verdict = parseVerdict(part);
      if (verdict === undefined) return undefined;
      continue;
    }
    const parsed = parseMatch(match, family);
    if (parsed === undefined) return undefined;
    if (parsed === 'marked') marked = true;
    else if (parsed.field === 'saddr') source = parsed.side;
    else destination = parsed.side;
  }
  return verdict === undefined ? undefined : { marked, source, destination, verdict };
}

function parseMatch(
  match: JsonValue,
  family: Family,
): 'marked' | { readonly field: 'saddr' | 'daddr'; readonly side: Side } | undefined {
  if (!isJsonObject(match) || !isJsonObject(match['left'])) return undefined;
  const { op, left, right } = match;
  if (op !== '==' && op !== '!=') return undefined;
  const meta = left['meta'];
  if (isJsonObject(meta)) {
    return meta['key'] === 'mark' && op === '==' && right === exemptMark ? 'marked' : undefined;
  }
  const payload = left['payload'];
  if (!isJsonObject(payload) || payload['protocol'] !== nftFamily[family]) return undefined;
  const { field } = payload;
  const net = parseNet(right, family);
  if ((field !== 'saddr' && field !== 'daddr') || net === undefined) return undefined;
  return { field, side: { net, not: op === '!=' } };
}

function parseNet(value: JsonValue | undefined, family: Family): string | undefined {
  // One address is a text, a network is an object.
  const prefix = isJsonObject(value) ? value['prefix'] : undefined;
  const text =
    typeof value === 'string'
      ? `${value}/${addressBits(family)}`
      : isJsonObject(prefix)
        ? `${textOf(prefix['addr'])}/${textOf(prefix['len'])}`
        : '';
  const cidr = tryParseCidr(text);
  return cidr?.family === family ? formatCidr(cidr) : undefined;
}

function parseVerdict(part: JsonObject): Verdict | undefined {
  if (Object.keys(part).length !== 1) return undefined;
  if ('return' in part) return 'return';
  if ('accept' in part) return 'accept';
  if (!('masquerade' in part)) return undefined;
  const { masquerade } = part;
  if (masquerade === null) return 'masquerade';
  if (!isJsonObject(masquerade) || Object.keys(masquerade).length !== 1) return undefined;
  // nft writes one flag as a text, or as a list of one.
  const flags = masquerade['flags'];
  const [flag, ...more] = listOf(flags) ?? [flags];
  return flag === 'fully-random' && more.length === 0 ? 'masquerade fully-random' : undefined;
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

function listOf(value: JsonValue | undefined): readonly JsonValue[] | undefined {
  return Array.isArray(value) ? (value as readonly JsonValue[]) : undefined;
}
