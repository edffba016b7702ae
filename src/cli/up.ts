// `kersey up`: one node, in the foreground, until SIGINT or SIGTERM.

import type { Feature } from '../engine/feature.ts';
import { openStore } from '../store/open.ts';
import { daemonLog } from './daemon-log.ts';
import { runDaemon } from './daemon.ts';
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
  readonly disable?: readonly Feature[];
  readonly workers?: number;
  readonly allowUnknownSources: boolean;
  readonly innerSourceCheck: boolean;
  readonly output: Output;
}

export async function up(options: UpOptions): Promise<void> {
  const etcd = etcdAccess(options);
  await runDaemon({
    openStore: () => openStore(options.store, { etcd, stateDir: options.stateDir }),
    wish: {
      ifaces: options.iface ?? [],
      ifaceRegexes: options.ifaceRegex ?? [],
      ...(options.ifaceCanReach !== undefined && { ifaceCanReach: options.ifaceCanReach }),
      ...(options.publicIp !== undefined && { publicIp: options.publicIp }),
      ...(options.publicIpv6 !== undefined && { publicIpv6: options.publicIpv6 }),
    },
    engine: {
      disable: options.disable ?? [],
      allowUnknownSources: options.allowUnknownSources,
      innerSourceCheck: options.innerSourceCheck,
      ...(options.workers !== undefined && { workers: options.workers }),
    },
    subnetFile: options.subnetFile,
    runDir: options.runDir,
    health: options.healthzPort === 0 ? undefined : { ip: options.healthzIp, port: options.healthzPort },
    warnings: [],
    log: daemonLog(options.output),
  });
}
