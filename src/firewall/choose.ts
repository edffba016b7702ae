// Which program makes the rules, found out by making them: the first that takes the whole set and then shows it as it was
// given. Why it is this one is part of the choice.
//
// nft's tables are ours alone, but their `accept` does not lift a DROP of iptables' FORWARD chain, which Docker sets. Where
// nobody has asked for nft by name and the forward rules are wanted, iptables is then taken first.

import { KerseyError } from '../errors.ts';
import type { Family } from '../net/ip.ts';
import type { Backend } from './backend.ts';
import { Iptables } from './iptables.ts';
import { Nftables } from './nftables.ts';
import { desiredRules } from './rules.ts';
import type { Dialect, OverlayNetwork, RuleWish } from './rules.ts';

export const firewallModes = ['auto', 'nft', 'iptables', 'off'] as const;
export type FirewallMode = (typeof firewallModes)[number];

export interface FirewallWish extends RuleWish {
  readonly mode: FirewallMode;
  /** What `auto` tries first, and why. */
  readonly first: Preference;
}

export interface Preference {
  readonly dialect: Dialect;
  readonly why: string;
  /** Somebody has asked for it by name. */
  readonly asked: boolean;
}

export type Choice =
  | { readonly kind: 'made'; readonly backend: Backend; readonly why: string }
  | { readonly kind: 'none'; readonly error: KerseyError };

interface Candidate {
  readonly dialect: Dialect;
  readonly why: string;
}

/** Leaves the rules in place. @throws KerseyError INTERRUPTED */
export async function chooseBackend(
  wish: FirewallWish,
  networks: readonly OverlayNetwork[],
  signal?: AbortSignal,
): Promise<Choice> {
  const failures: { readonly dialect: Dialect; readonly error: KerseyError }[] = [];
  for (const { dialect, why } of await candidates(wish, networks, signal)) {
    try {
      const backend = await established(dialect, wish, networks, signal);
      const failed = failures.map((one) => `${one.dialect} does not work here (${one.error.message})`);
      return { kind: 'made', backend, why: [...failed, why].join('; ') };
    } catch (error) {
      failures.push({ dialect, error: notInterrupted(error) });
    }
  }
  const reasons = failures.map(({ error }) => error.message).join('; ');
  const remedy = wish.mode === 'auto' ? 'install nftables or iptables' : 'leave --firewall at auto';
  const error = new KerseyError('FIREWALL', `nothing here makes firewall rules: ${reasons}`, {
    remedy,
    cause: failures[0]?.error,
  });
  return { kind: 'none', error };
}

async function candidates(
  { mode, first, forward }: FirewallWish,
  networks: readonly OverlayNetwork[],
  signal: AbortSignal | undefined,
): Promise<readonly Candidate[]> {
  if (mode === 'nft' || mode === 'iptables') return [{ dialect: mode, why: `--firewall ${mode}` }];
  const other = first.dialect === 'nft' ? 'iptables' : 'nft';
  const order: readonly Candidate[] = [first, { dialect: other, why: `${other} works` }];
  if (first.dialect === 'iptables' || first.asked || !forward) return order;
  const dropping = await iptablesDrops(
    networks.map(({ family }) => family),
    signal,
  );
  if (!dropping) return order;
  const why = "the FORWARD policy of iptables is DROP, which an accept in nft's own table does not lift";
  return [{ dialect: 'iptables', why }, first];
}

async function established(
  dialect: Dialect,
  wish: FirewallWish,
  networks: readonly OverlayNetwork[],
  signal: AbortSignal | undefined,
): Promise<Backend> {
  const backend = dialect === 'nft' ? new Nftables() : await Iptables.find('iptables', signal);
  const rules = desiredRules(networks, wish, dialect);
  try {
    await backend.ensure(rules, signal);
    const [difference] = await backend.ensure(rules, signal);
    if (difference === undefined) return backend;
    throw new KerseyError(
      'FIREWALL',
      `${backend.name} does not show the rules that it was given: ${difference}`,
    );
  } catch (error) {
    const families = networks.map(({ family }) => family);
    await backend.remove(families, signal).catch(notInterrupted);
    throw error;
  }
}

async function iptablesDrops(families: readonly Family[], signal: AbortSignal | undefined): Promise<boolean> {
  try {
    const iptables = await Iptables.find('iptables', signal);
    return (await iptables.droppingForward(families, signal)).length > 0;
  } catch (error) {
    notInterrupted(error);
    return false;
  }
}

function notInterrupted(error: unknown): KerseyError {
  const known = KerseyError.from(error);
  if (known.code === 'INTERRUPTED') throw known;
  return known;
}
