// `kersey up`: one node, in the foreground, until SIGINT or SIGTERM.

import type { Feature } from '../engine/feature.ts';
import { KerseyError } from '../errors.ts';
import { openStore } from '../store/open.ts';
import { daemonLog } from './daemon-log.ts';
import { runDaemon } from './daemon.ts';
import type { FirewallMode } from '../firewall/choose.ts';
import type { DataplaneWish } from '../node/dataplane.ts';
import type { Output } from './options.ts';
import { etcdAccess } from './store-options.ts';
import type { StoreFlags } from './store-options.ts';

export interface UpOptions extends StoreFlags {
  readonly iface?: readonly string[];
  readonly ifaceRegex?: readonly string[];
  readonly ifaceCanReach?: string;
  readonly publicIp?: string;
  readonly publicIpv6?: string;
  readonly subnetFile: string;
  readonly runDir: string;
  readonly stateDir: string;
  readonly healthzIp: string;
  readonly healthzPort: number;
  readonly dataplane: DataplaneWish;
  readonly disable?: readonly Feature[];
  readonly workers?: number;
  readonly allowUnknownSources: boolean;
  readonly innerSourceCheck: boolean;
  readonly firewall: FirewallMode;
  readonly ipMasq: boolean;
  readonly ipMasqFullyRandomDisable: boolean;
  readonly forwardRules: boolean;
  readonly iptablesResync: number;
  readonly output: Output;
}

export async function up(options: UpOptions): Promise<void> {
  const etcd = etcdAccess(options);
  if (options.ipMasq && options.firewall === 'off') {
    throw new KerseyError('USAGE', '--ip-masq asks for firewall rules, --firewall off for none', {
      remedy: 'leave out one of them',
    });
  }
  await runDaemon({
    openStore: () => openStore(options.store, { etcd, stateDir: options.stateDir }),
    wish: {
      ifaces: options.iface ?? [],
      ifaceRegexes: options.ifaceRegex ?? [],
      ...(options.ifaceCanReach !== undefined && { ifaceCanReach: options.ifaceCanReach }),
      ...(options.publicIp !== undefined && { publicIp: options.publicIp }),
      ...(options.publicIpv6 !== undefined && { publicIpv6: options.publicIpv6 }),
    },
    dataplane: options.dataplane,
    engine: {
      disable: options.disable ?? [],
      allowUnknownSources: options.allowUnknownSources,
      innerSourceCheck: options.innerSourceCheck,
      ...(options.workers !== undefined && { workers: options.workers }),
    },
    subnetFile: options.subnetFile,
    firewall: {
      mode: options.firewall,
      first: { dialect: 'nft', why: 'nft works', asked: false },
      masquerade: options.ipMasq,
      forward: options.forwardRules,
      fullyRandom: !options.ipMasqFullyRandomDisable,
      resync: options.iptablesResync,
    },
    runDir: options.runDir,
    health: options.healthzPort === 0 ? undefined : { ip: options.healthzIp, port: options.healthzPort },
    warnings: [],
    log: daemonLog(options.output),
  });
}
