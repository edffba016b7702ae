// `kersey up`: one node, in the foreground, until SIGINT or SIGTERM.

import { KerseyError } from '../errors.ts';
import type { Feature } from '../engine/feature.ts';
import { Node } from '../node/node.ts';
import type { Log } from '../observe/log.ts';
import type { Status } from '../observe/status.ts';
import { openStore } from '../store/open.ts';
import { daemonLog } from './daemon-log.ts';
import type { Output } from './options.ts';
import { version } from './version.ts';

export interface UpOptions {
  readonly store: string;
  readonly iface?: readonly string[];
  readonly ifaceRegex?: readonly string[];
  readonly ifaceCanReach?: string;
  readonly publicIp?: string;
  readonly publicIpv6?: string;
  readonly subnetFile: string;
  readonly runDir: string;
  readonly disable?: readonly Feature[];
  readonly workers?: number;
  readonly allowUnknownSources: boolean;
  readonly innerSourceCheck: boolean;
  readonly output: Output;
}

const signals = ['SIGINT', 'SIGTERM'] as const;

export async function up(options: UpOptions): Promise<void> {
  const log = daemonLog(options.output);
  const stopped = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    // Whoever asks twice does not want to wait; the kernel removes the device with the process.
    if (stopped.signal.aborted) process.exit(1);
    log.info(`stopping on ${signal}`);
    stopped.abort(new KerseyError('INTERRUPTED', `stopped by ${signal}`));
  };
  for (const signal of signals) process.on(signal, onSignal);
  // A terminal that closes ends the node as Ctrl-C does.
  process.on('SIGHUP', onSignal);
  try {
    await serve(options, log, stopped.signal);
    log.info('stopped; the lease and the subnet file stay for the next start');
  } catch (error) {
    // To be stopped while starting is not a failure.
    if (!stopped.signal.aborted) throw error;
  } finally {
    for (const signal of [...signals, 'SIGHUP'] as const) process.off(signal, onSignal);
  }
}

async function serve(options: UpOptions, log: Log, signal: AbortSignal): Promise<void> {
  const store = openStore(options.store);
  try {
    const node = await Node.start(
      {
        version: version(),
        store,
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
        log,
      },
      signal,
    );
    try {
      announce(node.status(), options, log);
      await node.run(signal);
    } finally {
      await node.close();
    }
  } finally {
    await store.close();
  }
}

/** What an operator wants to see first. */
function announce(status: Status, options: UpOptions, log: Log): void {
  const { lease, underlay, dataplane, overlays, store } = status;
  const subnets = [lease.subnet, lease.subnet6].filter((subnet) => subnet !== null).join(' and ');
  const known = [lease.publicIP, lease.publicIPv6].filter((ip) => ip !== null).join(' and ');
  log.info(`lease ${subnets}, known to peers as ${known}`, { subnet: subnets, publicIP: known });
  for (const { device, vni, port, mtu, address, features } of overlays) {
    log.info(
      `device ${device}: address ${address}, VNI ${vni}, UDP port ${port}, MTU ${mtu}, on ${underlay.iface} (${underlay.why})`,
      { device, vni, port, mtu, iface: underlay.iface },
    );
    for (const { name, reason } of features.filter(({ on }) => !on)) {
      log.info(`feature ${name} of ${device} is off: ${reason}`, { device, feature: name });
    }
  }
  log.info(`mode ${dataplane.mode}: ${dataplane.why}`, { mode: dataplane.mode });
  const peers = overlays.reduce((sum, overlay) => sum + overlay.peers.length, 0);
  log.info(`${peers} ${peers === 1 ? 'peer' : 'peers'} in ${store.description}`, { peers });
  const runDir = options.runDir === defaultRunDir ? '' : ` --run-dir ${options.runDir}`;
  log.info(`wrote ${options.subnetFile}; next: kersey status${runDir}`, { subnetFile: options.subnetFile });
}

export const defaultRunDir = '/run/kersey';
export const defaultSubnetFile = '/run/flannel/subnet.env';
