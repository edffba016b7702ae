// Removes what an earlier run, another mode or flannel itself has left in the firewall. flannel tries this as well, and
// leaves its jumps, its forward chain and whatever it cannot delete.

import { KerseyError } from '../errors.ts';
import type { Family } from '../net/ip.ts';
import type { Backend } from './backend.ts';
import { Iptables } from './iptables.ts';
import { Nftables } from './nftables.ts';

export interface Removal {
  readonly removed: readonly string[];
  /** What could not be removed, or not be looked for. */
  readonly problems: readonly KerseyError[];
}

const everything: readonly Family[] = [4, 6];

/**
 * Everything of ours and of flannel's, whatever made it. Nobody else's rules are touched.
 * @param pretend only tells what it would remove
 */
export async function removeFirewall(signal?: AbortSignal, pretend = false): Promise<Removal> {
  return removeBut(undefined, [], signal, pretend);
}

/** The same, but for the rules that `kept` has of `families`. */
export async function removeBut(
  kept: Backend | undefined,
  families: readonly Family[],
  signal?: AbortSignal,
  pretend = false,
): Promise<Removal> {
  const removed: string[] = [];
  const problems: KerseyError[] = [];
  const attempt = async (action: () => Promise<readonly string[]>): Promise<void> => {
    try {
      removed.push(...(await action()));
    } catch (error) {
      const problem = KerseyError.from(error);
      if (problem.code === 'INTERRUPTED') throw problem;
      // A program that is not there has not left anything that could be seen.
      if (problem.code !== 'TOOL_MISSING') problems.push(problem);
    }
  };
  const done = new Set(kept === undefined ? [] : [kept.name]);
  if (kept !== undefined) {
    const rest = everything.filter((family) => !families.includes(family));
    if (rest.length > 0) await attempt(() => kept.remove(rest, signal, pretend));
  }
  const finders = [
    () => Promise.resolve(new Nftables()),
    () => Iptables.find('iptables', signal),
    () => Iptables.find('iptables-nft', signal),
    () => Iptables.find('iptables-legacy', signal),
  ];
  for (const find of finders) {
    await attempt(async () => {
      const backend = await find();
      if (done.has(backend.name)) return [];
      done.add(backend.name);
      return backend.remove(everything, signal, pretend);
    });
  }
  return { removed, problems };
}
