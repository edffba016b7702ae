// What a node is made of, in the order in which it is made. What a start that fails had made is undone, last first.

import type { Backend, EngineOptions, HostFacts } from '../backend/backend.ts';
import { prepareBackend } from '../backend/open.ts';
import type { BackendMaker } from '../backend/open.ts';
import { enabledFamilies } from '../backend/overlay.ts';
import type { NetworkConfig } from '../config/network.ts';
import type { FirewallKeeper } from '../firewall/keeper.ts';
import { Netlink } from '../netlink/client.ts';
import { NetlinkEvents } from '../netlink/events.ts';
import { ControlServer } from '../observe/control.ts';
import type { ControlHandlers } from '../observe/control.ts';
import type { Log } from '../observe/log.ts';
import type { Lease } from '../store/lease.ts';
import type { SubnetManager } from '../store/subnet-manager.ts';
import { claimLease } from './claim.ts';
import type { Claim } from './claim.ts';
import { chooseDataplane } from './dataplane.ts';
import type { DataplaneChoice, DataplaneWish } from './dataplane.ts';
import { assertNetworkFits } from './overlap.ts';
import { overlapInput } from './overlap-input.ts';
import { ExtensionRunner } from './devices/extension-runner.ts';
import { driverMaker } from './devices/make.ts';
import { hostFacts } from './facts.ts';
import { keepFirewall } from './firewall.ts';
import type { FirewallOptions } from './firewall.ts';
import type { UnderlayWish } from './iface.ts';
import { Notices } from './notices.ts';
import { Reconciler } from './reconcile.ts';
import { probeSubnetFile, readPreviousSubnets } from './subnet-env.ts';
import { UnderlayKeeper } from './underlay.ts';
import type { Undo } from './undo.ts';

export interface NodeOptions {
  readonly version: string;
  readonly store: SubnetManager;
  readonly wish: UnderlayWish;
  readonly dataplane: DataplaneWish;
  readonly engine: EngineOptions;
  readonly subnetFile: string;
  readonly firewall: FirewallOptions;
  readonly runDir: string;
  /** What the operator asked for and does not get: part of the status for as long as the node runs. */
  readonly warnings?: readonly string[];
  readonly log: Log;
  /** Why this node is started again with another subnet, in the same process. */
  readonly moved?: string | undefined;
}

/** What a start has made and chosen. */
export interface Parts {
  readonly options: NodeOptions;
  readonly undo: Undo;
  readonly config: NetworkConfig;
  readonly underlay: UnderlayKeeper;
  readonly choice: DataplaneChoice;
  readonly makeBackend: BackendMaker;
  readonly backend: Backend;
  readonly netlink: Netlink;
  readonly events: NetlinkEvents;
  readonly reconciler: Reconciler;
  readonly commands: ExtensionRunner;
  readonly notices: Notices;
  readonly stop: AbortController;
  readonly firewall: FirewallKeeper;
  readonly own: Lease;
  readonly facts: HostFacts;
}

/** What the node that is being made will answer; nothing yet. */
export interface Callbacks extends ControlHandlers {
  /** Problems or warnings of a part that works by itself are others. */
  readonly onChange: () => void;
  readonly onKernelEvents: () => void;
}

/** @throws KerseyError; `undo` has what was made */
export async function makeParts(
  options: NodeOptions,
  undo: Undo,
  callbacks: Callbacks,
  signal: AbortSignal,
): Promise<Parts> {
  const { store, log } = options;
  const config = await store.config(signal);
  const netlink = Netlink.open();
  undo.add(() => {
    netlink.close();
  });
  const underlay = new UnderlayKeeper(options.wish, enabledFamilies(config), netlink);
  const choice = chooseDataplane(options.dataplane, config, netlink);
  const makeBackend = await prepareBackend(config, signal);
  const backend = makeBackend(backendContext(options, config, choice, underlay));
  const [links, addresses] = [netlink.links(), netlink.addresses()];
  const facts = hostFacts(underlay.current, links, addresses, backend.deviceNames);
  const fits = { config, choice, backend, netlink, facts, links, addresses };
  assertNetworkFits(overlapInput(fits));
  signal.throwIfAborted();

  const name = backend.deviceNames[0] ?? config.backend.type;
  const control = await ControlServer.open(options.runDir, name, callbacks);
  undo.add(() => control.close());
  const events = NetlinkEvents.open(callbacks.onKernelEvents);
  undo.add(() => {
    events.close();
  });
  const notices = new Notices(log);
  const reconciler = new Reconciler({
    netlink,
    makeDriver: driverMaker(netlink),
    onRepair: notices.repaired.bind(notices),
  });
  undo.add(() => {
    reconciler.close();
  });
  probeSubnetFile(options.subnetFile);
  const commands = new ExtensionRunner({ log, onChange: callbacks.onChange });
  undo.add(() => commands.close());
  const parts = {
    options,
    undo,
    config,
    underlay,
    choice,
    makeBackend,
    backend,
    netlink,
    events,
    reconciler,
    commands,
  };
  const previous = readPreviousSubnets(options.subnetFile);
  const ensureDevice = reconciler.ensureDevice.bind(reconciler);
  const own = await claim({ ...parts, facts }, { previous, ensureDevice }, signal);
  // After a change-over the containers' bridge still has its old address: that is a problem, not a refusal.
  if (options.moved === undefined) assertNetworkFits(overlapInput(fits, own));

  const stop = new AbortController();
  undo.add(() => {
    stop.abort();
  });
  const firewall = await keepFirewall(
    { options: options.firewall, config, own, notices, log, undo, onChange: callbacks.onChange },
    signal,
  );
  return { ...parts, notices, stop, firewall, own, facts };
}

export function backendContext(
  options: NodeOptions,
  config: NetworkConfig,
  choice: DataplaneChoice,
  underlay: UnderlayKeeper,
): Parameters<BackendMaker>[0] {
  const { ipv4, ipv6 } = underlay.current;
  return {
    config,
    options: options.engine,
    dataplane: choice.mode === 'kernel' ? 'kernel' : 'engine',
    underlay: { ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) },
  };
}

/** Claims our lease as things stand. */
export function claim(
  { options: { store }, backend, underlay, facts }: Pick<Parts, 'options' | 'backend' | 'underlay' | 'facts'>,
  known: Pick<Claim, 'previous' | 'held' | 'ensureDevice'>,
  signal: AbortSignal,
): Promise<Lease> {
  return claimLease({ store, backend, underlay: underlay.current, facts, ...known }, signal);
}
