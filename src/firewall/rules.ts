// flannel's rules as data: what a node's firewall should hold, a pure function of its networks and of what is wished.
//
//   masquerade   what leaves the overlay network for elsewhere, or comes into it from elsewhere, gets this host's address;
//                what stays inside does not
//   forward      what comes from the overlay network or goes to it is let through
//
// Words: C is the network of all nodes, P this node's subnet in it. Order counts, and so does the text (flannel's
// pkg/trafficmngr): tools compare it. The two dialects of flannel differ in one rule. iptables has "! -s C -d P", let in
// from outside as it is; nft has "saddr != P daddr C", which is wider and leaves the last rule nothing to do. Both are
// kept as they are: with nft, what this host passes on from outside to another node's containers keeps its source.

import { formatCidr } from '../net/cidr.ts';
import type { Cidr } from '../net/cidr.ts';
import type { Family } from '../net/ip.ts';

export type Dialect = 'nft' | 'iptables';

export interface OverlayNetwork {
  readonly family: Family;
  readonly network: Cidr;
  /** This node's part of it. */
  readonly subnet: Cidr;
}

export interface RuleWish {
  readonly masquerade: boolean;
  readonly forward: boolean;
  /** Source ports that nobody can guess, where the kernel has them. */
  readonly fullyRandom: boolean;
}

export type Verdict = 'return' | 'accept' | 'masquerade' | 'masquerade fully-random';

export interface Side {
  readonly net: string;
  readonly not: boolean;
}

export interface Rule {
  /** Only packets with the mark `exemptMark`. */
  readonly marked: boolean;
  readonly source: Side | undefined;
  readonly destination: Side | undefined;
  readonly verdict: Verdict;
}

/** What one family should have; a list that is empty is not wanted, and neither is its chain. */
export interface FamilyRules {
  readonly family: Family;
  readonly masquerade: readonly Rule[];
  readonly forward: readonly Rule[];
}

/** Packets that somebody, such as kube-proxy, has seen to. */
export const exemptMark = 0x4000;

const multicast: Readonly<Record<Family, string>> = { 4: '224.0.0.0/4', 6: 'ff00::/8' };

export function desiredRules(
  networks: readonly OverlayNetwork[],
  wish: RuleWish,
  dialect: Dialect,
): readonly FamilyRules[] {
  return networks.map(({ family, network, subnet }) => {
    const [C, P] = [formatCidr(network), formatCidr(subnet)];
    const masquerade = wish.fullyRandom ? 'masquerade fully-random' : 'masquerade';
    return {
      family,
      masquerade: !wish.masquerade
        ? []
        : [
            { ...anything, marked: true, verdict: 'return' },
            rule(is(P), is(C), 'return'),
            rule(is(C), is(P), 'return'),
            dialect === 'nft' ? rule(isNot(P), is(C), 'return') : rule(isNot(C), is(P), 'return'),
            rule(is(C), isNot(multicast[family]), masquerade),
            rule(isNot(C), is(C), masquerade),
          ],
      forward: !wish.forward ? [] : [rule(is(C), undefined, 'accept'), rule(undefined, is(C), 'accept')],
    };
  });
}

/** The same for a kernel or a program that has no `fully-random`. */
export function withoutFullyRandom(rules: FamilyRules): FamilyRules {
  const plain = (one: Rule): Rule =>
    one.verdict === 'masquerade fully-random' ? { ...one, verdict: 'masquerade' } : one;
  return { ...rules, masquerade: rules.masquerade.map(plain) };
}

export function sameRules(a: readonly (Rule | undefined)[], b: readonly (Rule | undefined)[]): boolean {
  return a.length === b.length && a.every((one, i) => sameRule(one, b[i]));
}

function sameRule(a: Rule | undefined, b: Rule | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  return (
    a.marked === b.marked &&
    a.verdict === b.verdict &&
    sameSide(a.source, b.source) &&
    sameSide(a.destination, b.destination)
  );
}

function sameSide(a: Side | undefined, b: Side | undefined): boolean {
  return a?.net === b?.net && a?.not === b?.not;
}

const anything = { marked: false, source: undefined, destination: undefined } as const;

function rule(source: Side | undefined, destination: Side | undefined, verdict: Verdict): Rule {
  return { marked: false, source, destination, verdict };
}

function is(net: string): Side {
  return { net, not: false };
}

function isNot(net: string): Side {
  return { net, not: true };
}
