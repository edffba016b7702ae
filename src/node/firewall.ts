// The firewall's part of a node: what it should hold, from config and lease, and who looks after it.

import { overlayNetworks } from '../backend/overlay.ts';
import type { NetworkConfig } from '../config/network.ts';
import type { Preference } from '../firewall/choose.ts';
import type { FirewallMode } from '../firewall/choose.ts';
import { FirewallKeeper } from '../firewall/keeper.ts';
import { RulesGeneration } from '../netlink/generation.ts';
import type { Log } from '../observe/log.ts';
import type { LeaseSubnets } from '../store/lease.ts';
import type { Notices } from './notices.ts';
import type { Undo } from './undo.ts';

/** What the operator chose. */
export interface FirewallOptions {
  readonly mode: FirewallMode;
  /** What `auto` takes first where the network config does not say EnableNFTables. */
  readonly first: Preference;
  readonly masquerade: boolean;
  readonly forward: boolean;
  readonly fullyRandom: boolean;
  /** In seconds. */
  readonly resync: number;
}

interface Parts {
  readonly options: FirewallOptions;
  readonly config: NetworkConfig;
  readonly own: LeaseSubnets;
  readonly notices: Notices;
  readonly log: Log;
  readonly undo: Undo;
  readonly onChange: () => void;
}

const asConfigured: Preference = { dialect: 'nft', why: 'EnableNFTables', asked: true };

/** Resolves when the rules are in place. What it opens is closed by `undo`; the rules stay. */
export async function keepFirewall(parts: Parts, signal: AbortSignal): Promise<FirewallKeeper> {
  const { options, config, own, notices, log, undo, onChange } = parts;
  const kept: { keeper?: FirewallKeeper } = {};
  const onRules = (): void => {
    kept.keeper?.rulesChanged();
  };
  const generation = options.mode === 'off' ? undefined : openGeneration(onRules);
  undo.add(() => {
    generation?.close();
  });
  const { mode, masquerade, forward, fullyRandom, resync } = options;
  const first = config.enableNFTables ? asConfigured : options.first;
  const keeper = await FirewallKeeper.begin(
    {
      wish: { mode, first, masquerade, forward, fullyRandom },
      networks: overlayNetworks(config, own),
      resync: resync * 1000,
      generation: () => generation?.read(),
      told: generation?.told ?? false,
      onRepair: (what) => {
        notices.repaired('firewall', what);
      },
      onNotice: (text) => {
        log.info(text);
      },
      onChange,
    },
    signal,
  );
  kept.keeper = keeper;
  undo.add(() => keeper.close());
  return keeper;
}

/** Without it the clock has to do. */
function openGeneration(onChange: () => void): RulesGeneration | undefined {
  try {
    return RulesGeneration.open(onChange);
  } catch {
    return undefined;
  }
}
