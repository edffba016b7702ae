// The life of a daemon, whatever the program is called: signals, the service manager, health, the store, the node.
//
//   starting   /healthz answers, /readyz says 503; a shared store is waited for
//   running    READY=1; from now on /readyz, STATUS and WATCHDOG follow the node
//   stopping   at the first SIGINT, SIGTERM or SIGHUP: STOPPING=1, everything is removed, exit code 0
//
// A second signal ends the process at once; the kernel removes the device with it.

import type { Feature } from '../engine/feature.ts';
import { KerseyError } from '../errors.ts';
import type { EngineOptions } from '../backend/backend.ts';
import type { DataplaneWish } from '../node/dataplane.ts';
import { formatCidr } from '../net/cidr.ts';
import type { FirewallOptions } from '../node/firewall.ts';
import type { UnderlayWish } from '../node/iface.ts';
import type { Node } from '../node/node.ts';
import { serveNode } from '../node/serve.ts';
import type { NodeBrief } from '../node/status.ts';
import { HealthServer } from '../observe/health.ts';
import type { Health } from '../observe/health.ts';
import type { Log } from '../observe/log.ts';
import { dataplaneText, firewallText, wireText } from '../observe/status-text.ts';
import { metricsText } from '../observe/metrics.ts';
import { ServiceNotifier } from '../observe/notify.ts';
import type { Status } from '../observe/status.ts';
import type { SubnetManager } from '../store/subnet-manager.ts';
import { version } from './version.ts';

export interface DaemonOptions {
  readonly openStore: () => SubnetManager;
  readonly wish: UnderlayWish;
  readonly dataplane: DataplaneWish;
  readonly engine: EngineOptions & { readonly disable?: readonly Feature[] };
  readonly subnetFile: string;
  readonly firewall: FirewallOptions;
  readonly runDir: string;
  /** undefined: nobody is told over HTTP. */
  readonly health: { readonly ip: string; readonly port: number } | undefined;
  /** What the operator asked for and does not get. */
  readonly warnings: readonly string[];
  readonly log: Log;
  /** Called first of all, when a signal already ends the daemon in order. */
  readonly onBegin?: () => void;
}

export const defaultRunDir = '/run/kersey';
export const defaultSubnetFile = '/run/flannel/subnet.env';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** How often the service manager's status line is brought up to date, in milliseconds. */
const statusPeriod = 1000;

/** Resolves when the node was stopped by a signal. */
export async function runDaemon(options: DaemonOptions): Promise<void> {
  const { log } = options;
  const notifier = new ServiceNotifier(process.env, log);
  const stopped = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopped.signal.aborted) process.exit(1);
    log.info(`stopping on ${signal}`);
    notifier.stopping();
    stopped.abort(new KerseyError('INTERRUPTED', `stopped by ${signal}`));
  };
  for (const signal of signals) process.on(signal, onSignal);
  try {
    options.onBegin?.();
    await serve(options, notifier, stopped.signal);
    log.info('stopped; lease, subnet file and what the kernel carries alone stay for the next start');
  } catch (error) {
    // To be stopped while starting is not a failure.
    if (!stopped.signal.aborted) throw error;
  } finally {
    notifier.close();
    for (const signal of signals) process.off(signal, onSignal);
  }
}

async function serve(options: DaemonOptions, notifier: ServiceNotifier, signal: AbortSignal): Promise<void> {
  const { wish, dataplane, engine, subnetFile, firewall, runDir, warnings, log } = options;
  // The one that runs now: with another subnet it is another node.
  let node: Node | undefined;
  const health = (): Health => healthOf(node?.brief());
  const metrics = (): string | undefined => (node === undefined ? undefined : metricsText(node.status()));
  const server =
    options.health && (await HealthServer.open(options.health.ip, options.health.port, health, metrics));
  try {
    const store = options.openStore();
    const stop = tellRegularly(() => node, notifier);
    try {
      notifier.status(`starting; the store is ${store.description}`);
      const onStarted = (started: Node): void => {
        node = started;
        announce(started.status(), options);
        notifier.ready();
        notifier.status(briefText(started.brief()));
      };
      const onEnded = (): void => {
        node = undefined;
      };
      const onWaiting = (reason: KerseyError): void => {
        notifier.status(`waiting: ${reason.line}`);
      };
      const settings = { wish, dataplane, engine, subnetFile, firewall, runDir, warnings };
      const parts = { version: version(), store, log, ...settings };
      await serveNode({ ...parts, onStarted, onEnded, onWaiting }, signal);
    } finally {
      stop();
      await store.close();
    }
  } finally {
    await server?.close();
  }
}

function healthOf(node: NodeBrief | undefined): Health {
  if (node === undefined) return { state: 'starting', ready: false, problems: [] };
  const problems = [...new Set(node.problems.map(({ code }) => code))];
  return { state: node.ready && problems.length === 0 ? 'ok' : 'degraded', ready: node.ready, problems };
}

/** Keeps the service manager up to date about whichever node runs. @returns how to stop that */
function tellRegularly(running: () => Node | undefined, notifier: ServiceNotifier): () => void {
  const tell = (): void => {
    const node = running();
    if (node !== undefined) notifier.status(briefText(node.brief()));
  };
  const timers = notifier.listened ? [setInterval(tell, statusPeriod)] : [];
  // The node looks at the world by timers, too: as long as timers run it does.
  const beat = (): void => {
    notifier.alive();
  };
  if (notifier.watchdog !== undefined) timers.push(setInterval(beat, notifier.watchdog / 2));
  return () => {
    for (const timer of timers) clearInterval(timer);
  };
}

function briefText({ own, peers, ready, problems: [problem] }: NodeBrief): string {
  const subnets = [own.subnet, own.subnet6].flatMap((cidr) => (cidr ? [formatCidr(cidr)] : [])).join(' and ');
  const state = ready ? 'forwarding' : 'not forwarding';
  const trouble = problem === undefined ? '' : `; ${problem.line}`;
  return `${state}, ${subnets}, ${peers} ${peers === 1 ? 'peer' : 'peers'}${trouble}`;
}

/** What an operator wants to see first. */
function announce(status: Status, { runDir, subnetFile, log }: DaemonOptions): void {
  const { lease, underlay, backend, dataplane, overlays, routes, store, firewall } = status;
  const subnets = [lease.subnet, lease.subnet6].filter((subnet) => subnet !== null).join(' and ');
  const known = [lease.publicIP, lease.publicIPv6].filter((ip) => ip !== null).join(' and ');
  log.info(`lease ${subnets}, known to peers as ${known}`, { subnet: subnets, publicIP: known });
  for (const overlay of overlays) {
    const { device, mtu, address, features } = overlay;
    log.info(
      `device ${device}: address ${address}, ${wireText(overlay)}, on ${underlay.iface} (${underlay.why})`,
      { device, mtu, iface: underlay.iface },
    );
    for (const { name, reason } of features.filter(({ on }) => !on)) {
      log.info(`feature ${name} of ${device} is off: ${reason}`, { device, feature: name });
    }
  }
  log.info(`mode ${dataplaneText(backend, dataplane)}`, { backend, mode: dataplane.mode });
  log.info(`firewall ${firewallText(firewall)}`, { firewall: firewall.mode });
  const peers = overlays.reduce((sum, overlay) => sum + overlay.peers.length, routes.length);
  log.info(`${peers} ${peers === 1 ? 'peer' : 'peers'} in ${store.description}`, { peers });
  const next = `kersey status${runDir === defaultRunDir ? '' : ` --run-dir ${runDir}`}`;
  log.info(`wrote ${subnetFile}; next: ${next}`, { subnetFile });
}
