// Makes the host what the desired state says, by looking at what is there and repairing the difference.
//
// There is one way in, apply(), whatever the reason: a start, a lease that came or went, a route that somebody deleted,
// a timer. It reads engines, devices, addresses and routes, and changes what differs. Where something that an earlier
// apply() had put in order is out of order again, the change is a repair, counted by kind and logged.
//
// The overlay's device is ours. What others put on it goes: addresses (DHCP clients and avahi like to) and routes,
// because the engine would drop whatever they send there. The kernel's own routes and link-local addresses stay.
//
// What cannot be done is returned, and tried again at the next call; the rest is done all the same.

import type { Engine, EngineConfig, PeerTable } from '../engine/engine.ts';
import { KerseyError } from '../errors.ts';
import type { Family } from '../net/ip.ts';
import type { Netlink, RouteOperation } from '../netlink/client.ts';
import { RTPROT } from '../netlink/constants.ts';
import type { DeviceRef, Link, LinkChange } from '../netlink/link.ts';
import type { Route } from '../netlink/route.ts';
import type { Desired, DesiredOverlay } from './desired.ts';
import { enableIpv6, quietDevice } from './sysctl.ts';

export const repairKinds = ['device', 'link', 'address', 'route'] as const;
export type RepairKind = (typeof repairKinds)[number];
export type RepairCounts = Readonly<Record<RepairKind, number>>;

/** The part of an Engine that is used here. */
export type EngineFace = Pick<Engine, 'config' | 'setPeers' | 'state' | 'stats' | 'close'>;

export type NetlinkFace = Pick<
  Netlink,
  'link' | 'setLink' | 'addresses' | 'addAddress' | 'deleteAddress' | 'routes' | 'changeRoutes'
>;

export interface ReconcilerOptions {
  readonly netlink: NetlinkFace;
  readonly openEngine: (config: EngineConfig) => EngineFace;
  /** Told of every repair, one clause each; of many routes at once in one. */
  readonly onRepair: (kind: RepairKind, what: string) => void;
  /** Milliseconds from any start; performance.now unless told. */
  readonly now?: () => number;
}

interface Overlay {
  engine: EngineFace;
  /** The engine sends superpackets whole (feature tunnel-gso). */
  readonly wholeSuperpackets: boolean;
  readonly openedAt: number;
  /** How often in a row it was lost soon after it was opened. */
  readonly losses: number;
  /** Why the engine must be opened again, from when this is found until it is done. */
  lost: string | undefined;
  /** The table that the engine has. */
  table: PeerTable | undefined;
  /** Whether device and address had been put in order. */
  settled: boolean;
  /** Destinations of the routes that had been put in order. */
  routes: ReadonlySet<string>;
}

/** An engine that lived as long was well; a shorter life is counted as a loss in a row. In milliseconds. */
const soundLife = 10_000;
/** The wait before it is opened again after the second loss in a row, doubled with every further one, and its end. */
const firstWait = 500;
const longestWait = 30_000;
/** How many routes a line of the log names. */
const namedRoutes = 3;

/** What a route has that names no metric. */
const defaultMetric: Readonly<Record<Family, number>> = { 4: 0, 6: 1024 };

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #overlays = new Map<Family, Overlay>();
  readonly #repairs: Record<RepairKind, number> = { device: 0, link: 0, address: 0, route: 0 };

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  get repairs(): RepairCounts {
    return { ...this.#repairs };
  }

  engine(family: Family): EngineFace | undefined {
    return this.#overlays.get(family)?.engine;
  }

  /** Has the family's engine run with exactly this configuration. @throws KerseyError of Engine.open */
  ensureEngine(family: Family, config: EngineConfig): void {
    const overlay = this.#overlays.get(family);
    if (overlay === undefined) {
      this.#overlays.set(family, this.#open(config, 0));
      return;
    }
    const state = overlay.engine.state();
    if (state.kind === 'failed') overlay.lost = state.reason;
    if (state.kind === 'running' && sameConfig(overlay.engine.config, config)) return;
    this.#reopen(family, overlay, config);
  }

  #reopen(family: Family, { engine, lost, openedAt, losses }: Overlay, config: EngineConfig): void {
    const lived = this.#now() - openedAt;
    const inRow = lost === undefined || lived >= soundLife ? 0 : losses + 1;
    // Whoever takes the device away time and again shall not make us spin.
    const wait = inRow < 2 ? 0 : Math.min(longestWait, firstWait * 2 ** (inRow - 2));
    if (lost !== undefined && lived < wait) {
      throw new KerseyError(
        'ENGINE_FAILED',
        `${lost}, ${inRow} times in a row; the next try is in a moment`,
        {
          remedy: 'see who removes it with `ip monitor link`',
        },
      );
    }
    // The old device must be gone before the new one can have its name.
    engine.close();
    this.#overlays.set(family, this.#open(config, inRow));
    if (lost !== undefined) this.#repaired('device', `${lost}; made again`);
  }

  #open(config: EngineConfig, losses: number): Overlay {
    const engine = this.#options.openEngine(config);
    const openedAt = this.#now();
    const wholeSuperpackets = engine.stats().features.some(({ name, on }) => name === 'tunnel-gso' && on);
    return {
      ...{ engine, wholeSuperpackets, openedAt, losses },
      ...{ lost: undefined, table: undefined, settled: false, routes: new Set() },
    };
  }

  #now(): number {
    return this.#options.now?.() ?? performance.now();
  }

  /** @returns what could not be done */
  apply(desired: Desired): readonly KerseyError[] {
    const problems: KerseyError[] = [];
    for (const overlay of desired.overlays) {
      try {
        problems.push(...this.#applyOverlay(overlay));
      } catch (error) {
        problems.push(KerseyError.from(error));
      }
    }
    return problems;
  }

  /** Closes the engines; their devices go, and with them addresses and routes. */
  close(): void {
    for (const { engine } of this.#overlays.values()) engine.close();
    this.#overlays.clear();
  }

  #applyOverlay(desired: DesiredOverlay): readonly KerseyError[] {
    this.ensureEngine(desired.family, desired.engine);
    const link = this.#link(desired);
    const overlay = this.#overlay(desired.family);
    // Before the device is up, so that it sends nothing that it need not.
    if (!link.up) {
      quietDevice(link.name);
      if (desired.family === 6) enableIpv6(link.name);
    }
    this.#applyPeers(overlay, desired);
    this.#applyLink(overlay, desired, link);
    this.#applyAddresses(overlay, desired, link);
    overlay.settled = true;
    return this.#applyRoutes(overlay, desired, link);
  }

  /** The overlay's device. When it is not here it was deleted this moment, or moved to another namespace. */
  #link({ family, engine: config }: DesiredOverlay): Link {
    const { netlink } = this.#options;
    const link = netlink.link(config.device);
    if (link !== undefined) return link;
    const overlay = this.#overlay(family);
    overlay.lost = `the device ${config.device} was gone`;
    this.#reopen(family, overlay, config);
    const again = netlink.link(config.device);
    if (again !== undefined) return again;
    throw new KerseyError('ENGINE_FAILED', `the device ${config.device} does not appear in this namespace`, {
      remedy: 'see who removes it with `ip monitor link`',
    });
  }

  #overlay(family: Family): Overlay {
    const overlay = this.#overlays.get(family);
    if (overlay !== undefined) return overlay;
    throw new KerseyError('INTERNAL', `there is no IPv${family} overlay`);
  }

  #applyPeers(overlay: Overlay, { peers, local }: DesiredOverlay): void {
    const table = { peers, local };
    if (overlay.table !== undefined && sameTable(overlay.table, table)) return;
    overlay.engine.setPeers(table);
    overlay.table = table;
  }

  #applyLink(overlay: Overlay, desired: DesiredOverlay, link: Link): void {
    const { engine, txQueueLen } = desired;
    const gsoMaxSize = desired.gsoMaxSize[overlay.wholeSuperpackets ? 'whole' : 'runs'];
    const change: LinkChange = {
      ...(link.mtu !== engine.mtu && { mtu: engine.mtu }),
      ...(link.txQueueLen !== txQueueLen && { txQueueLen }),
      // What the kernel does not tell it does not let us set either.
      ...(link.gsoMaxSize !== undefined && link.gsoMaxSize !== gsoMaxSize && { gsoMaxSize }),
      ...(link.gsoIpv4MaxSize !== undefined &&
        link.gsoIpv4MaxSize !== gsoMaxSize && { gsoIpv4MaxSize: gsoMaxSize }),
      ...(!link.up && { up: true }),
    };
    if (Object.keys(change).length === 0) return;
    this.#options.netlink.setLink(link, change);
    if (overlay.settled) this.#repaired('link', `${link.name}: set ${Object.keys(change).join(', ')}`);
  }

  #applyAddresses(overlay: Overlay, desired: DesiredOverlay, link: Link): void {
    const { netlink } = this.#options;
    const present = netlink
      .addresses(link)
      .filter(({ family, ip }) => family === 4 || !ip.startsWith('fe80:'))
      .map(({ ip, prefixLength }) => `${ip}/${prefixLength}`);
    for (const foreign of present.filter((address) => address !== desired.address)) {
      netlink.deleteAddress(link, foreign);
      this.#repaired('address', `${link.name}: removed ${foreign}, which is not ours`);
    }
    if (present.includes(desired.address)) return;
    netlink.addAddress(link, desired.address);
    if (overlay.settled) this.#repaired('address', `${link.name}: put back ${desired.address}`);
  }

  #applyRoutes(overlay: Overlay, { family, routes }: DesiredOverlay, link: Link): readonly KerseyError[] {
    const { netlink } = this.#options;
    const wanted = new Map(routes.map((route) => [route.dst, route.via]));
    const present = new Set<string>();
    const removals: RouteOperation[] = [];
    const foreign: string[] = [];
    for (const route of netlink.routes(family, link)) {
      const via = wanted.get(route.dst);
      if (via !== undefined && isAsWished(route, via, family)) {
        present.add(route.dst);
      } else if (route.protocol !== RTPROT.KERNEL) {
        removals.push({ action: 'delete', route: asChange(route, link) });
        // A route whose lease has gone is no repair.
        if (via === undefined && !overlay.routes.has(route.dst)) foreign.push(route.dst);
      }
    }
    const missing = routes.filter(({ dst }) => !present.has(dst));
    const lost = missing.map(({ dst }) => dst).filter((dst) => overlay.routes.has(dst));
    this.#repaired(
      'route',
      `${link.name}: removed ${named(foreign)}, which no lease calls for`,
      foreign.length,
    );
    this.#repaired('route', `${link.name}: put back ${named(lost)}`, lost.length);
    const additions = missing.map(({ dst, via }): RouteOperation => {
      return { action: 'replace', route: { dst, via, device: link, onlink: true } };
    });
    const problems = netlink.changeRoutes([...removals, ...additions]);
    overlay.routes = problems.length === 0 ? new Set(wanted.keys()) : present;
    return problems;
  }

  #repaired(kind: RepairKind, what: string, times = 1): void {
    if (times === 0) return;
    this.#repairs[kind] += times;
    this.#options.onRepair(kind, what);
  }
}

function named(routes: readonly string[]): string {
  const rest = routes.length - namedRoutes;
  const names = routes.slice(0, namedRoutes).join(', ');
  return `the route${routes.length === 1 ? '' : 's'} ${names}${rest > 0 ? ` and ${rest} more` : ''}`;
}

function isAsWished(route: Route, via: string, family: Family): boolean {
  return route.via === via && route.onlink && route.metric === defaultMetric[family];
}

function asChange(route: Route, device: DeviceRef): RouteOperation['route'] {
  return {
    dst: route.dst,
    device,
    metric: route.metric,
    ...(route.via !== undefined && { via: route.via }),
  };
}

function sameConfig(a: EngineConfig, b: EngineConfig): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function sameTable(a: PeerTable, b: PeerTable): boolean {
  if (a.peers === b.peers && a.local === b.local) return true;
  return JSON.stringify(a) === JSON.stringify(b);
}
