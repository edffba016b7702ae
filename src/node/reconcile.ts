// Makes the host what the plan says, by looking at what is there and repairing the difference.
//
// There is one way in, apply(), whatever the reason: a start, a lease that came or went, a route that somebody deleted,
// a timer. It reads devices, addresses, routes and what their drivers know (engine, neighbours, forwarding entries), and
// changes what differs. Where something that an earlier apply() had put in order is out of order again, the change is a
// repair, counted by kind and logged.
//
// Our devices are ours. What others put on them goes: addresses (DHCP clients and avahi like to) and routes, because
// nobody would carry what they send there. The kernel's own routes and link-local addresses stay.
//
// What cannot be done is returned, and tried again at the next call; the rest is done all the same.

import type { DevicePlan, Plan } from '../backend/plan.ts';
import { KerseyError } from '../errors.ts';
import type { Netlink, RouteOperation } from '../netlink/client.ts';
import { RT_SCOPE, RTPROT } from '../netlink/constants.ts';
import type { Link, LinkChange } from '../netlink/link.ts';
import type { Route } from '../netlink/route.ts';
import { repairKinds } from './devices/driver.ts';
import type { DeviceDriver, DeviceState, RepairKind } from './devices/driver.ts';
import type { DriverMaker } from './devices/make.ts';
import { enableIpv6, quietDevice } from './sysctl.ts';
import { UnderlayRoutes, defaultMetric, named } from './underlay-routes.ts';
import type { UnderlayNetlink } from './underlay-routes.ts';

export type RepairCounts = Readonly<Record<RepairKind, number>>;

export type NetlinkFace = UnderlayNetlink &
  Pick<Netlink, 'link' | 'setLink' | 'addresses' | 'addAddress' | 'deleteAddress'>;

export interface ReconcilerOptions {
  readonly netlink: NetlinkFace;
  readonly makeDriver: DriverMaker;
  /** Told of every repair, one clause each; of many routes at once in one. */
  readonly onRepair: (kind: RepairKind, what: string) => void;
}

interface Device {
  readonly driver: DeviceDriver;
  /** The device as it was when it was last in order; another index is another device. */
  index: number | undefined;
  /** The MTU that it then had. */
  mtu: number | undefined;
  /** The routes that had been put in order, by destination: the gateway. */
  routes: ReadonlyMap<string, string | undefined>;
  /** It was not there before; a start that fails leaves none of these. */
  made: boolean;
  /** Why the last call could not make it, or set it up. */
  failure: KerseyError | undefined;
}

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #devices = new Map<string, Device>();
  readonly #underlay: UnderlayRoutes;
  #kept = false;
  readonly #repairs = Object.fromEntries(repairKinds.map((kind) => [kind, 0])) as Record<RepairKind, number>;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#underlay = new UnderlayRoutes(options.netlink, this.#repaired.bind(this));
  }

  get repairs(): RepairCounts {
    return { ...this.#repairs };
  }

  /** Indexes of our devices, as they were when they were last in order. */
  get deviceIndexes(): ReadonlySet<number> {
    return new Set([...this.#devices.values()].flatMap(({ index }) => (index === undefined ? [] : [index])));
  }

  driver(device: string): DeviceDriver | undefined {
    return this.#devices.get(device)?.driver;
  }

  /** What its driver says; but one that could not be made does not run, whatever its driver believes. */
  state(device: string): DeviceState {
    const { driver, failure } = this.#devices.get(device) ?? {};
    const state = driver?.state() ?? { kind: 'closed' };
    return state.kind !== 'running' || failure === undefined
      ? state
      : { kind: 'failed', reason: failure.message };
  }

  /**
   * Has the device exist with exactly this configuration, and up where the kernel makes it, because only then the kernel
   * asks for its port; nothing more. @throws KerseyError
   */
  ensureDevice(plan: DevicePlan): void {
    const device = this.#device(plan);
    device.made ||= this.#options.netlink.link(plan.name) === undefined;
    const link = device.driver.ensure(plan);
    if (plan.kind !== 'engine') this.#setUp(device, plan, link, false);
  }

  /** The node has started: what it has made may outlive it. */
  keep(): void {
    this.#kept = true;
  }

  /** @returns what could not be done */
  apply(plan: Plan): readonly KerseyError[] {
    const problems: KerseyError[] = [];
    const attempt = (action: () => readonly KerseyError[]): void => {
      try {
        problems.push(...action());
      } catch (error) {
        problems.push(KerseyError.from(error));
      }
    };
    for (const [name, { driver }] of this.#devices) {
      if (plan.devices.some((device) => device.name === name)) continue;
      this.#devices.delete(name);
      attempt(() => {
        driver.remove();
        return [];
      });
    }
    for (const device of plan.devices) attempt(() => this.#applyDevice(device));
    attempt(() => this.#underlay.apply(plan.routes));
    return problems;
  }

  /**
   * Ends what cannot go on without this process. Kernel devices and routes stay, and packets go on flowing; but what a
   * start has made that came to nothing is removed.
   */
  close(): void {
    for (const { driver, made } of this.#devices.values()) {
      if (this.#kept || !made) driver.close();
      else driver.remove();
    }
    this.#devices.clear();
  }

  /** Its driver; one of another kind makes room first. */
  #device(plan: DevicePlan): Device {
    const present = this.#devices.get(plan.name);
    if (present?.driver.kind === plan.kind) return present;
    present?.driver.remove();
    const driver = this.#options.makeDriver(plan.kind, this.#repaired.bind(this));
    const device: Device = {
      ...{ driver, index: undefined, mtu: undefined, made: false },
      ...{ routes: new Map(), failure: undefined },
    };
    this.#devices.set(plan.name, device);
    return device;
  }

  #applyDevice(plan: DevicePlan): readonly KerseyError[] {
    const device = this.#device(plan);
    try {
      return this.#putInOrder(device, plan);
    } catch (error) {
      device.failure = KerseyError.from(error);
      throw error;
    }
  }

  #putInOrder(device: Device, plan: DevicePlan): readonly KerseyError[] {
    const link = device.driver.ensure(plan);
    // A new device has nothing yet that could be repaired.
    const settled = device.index === link.index;
    if (!settled) device.routes = new Map();
    // The engine knows its peers before the first packet comes; the kernel takes them only for a device that is up.
    const problems: KerseyError[] = [];
    if (plan.kind === 'engine') problems.push(...device.driver.applyPeers(plan, link));
    this.#setUp(device, plan, link, settled);
    if (plan.kind !== 'engine') problems.push(...device.driver.applyPeers(plan, link));
    this.#applyAddresses(plan, link, settled);
    device.index = link.index;
    device.mtu = plan.mtu;
    device.failure = undefined;
    problems.push(...this.#applyRoutes(device, plan, link));
    return problems;
  }

  #setUp({ driver, mtu: before }: Device, plan: DevicePlan, link: Link, settled: boolean): void {
    const { mtu, txQueueLen } = plan;
    // Before the device is up, so that it sends nothing that it need not.
    if (!link.up) {
      quietDevice(link.name);
      if (plan.family === 6) enableIpv6(link.name);
    }
    const change: LinkChange = {
      ...(link.mtu !== mtu && { mtu }),
      ...(txQueueLen !== undefined && link.txQueueLen !== txQueueLen && { txQueueLen }),
      ...(!link.up && { up: true }),
    };
    if (Object.keys(change).length === 0) return;
    try {
      this.#options.netlink.setLink(link, change);
    } catch (error) {
      throw driver.explain?.(plan, KerseyError.from(error)) ?? error;
    }
    // Another MTU in the plan is no damage.
    const damaged = Object.keys(change).filter((key) => key !== 'mtu' || before === mtu);
    if (settled && damaged.length > 0) this.#repaired('link', `${link.name}: set ${damaged.join(', ')}`);
  }

  #applyAddresses({ addresses }: DevicePlan, link: Link, settled: boolean): void {
    const { netlink } = this.#options;
    const present = netlink
      .addresses(link)
      .filter(({ family, ip }) => family === 4 || !ip.startsWith('fe80:'))
      .map(({ ip, prefixLength }) => `${ip}/${prefixLength}`);
    for (const foreign of present.filter((address) => !addresses.includes(address))) {
      netlink.deleteAddress(link, foreign);
      this.#repaired('address', `${link.name}: removed ${foreign}, which is not ours`);
    }
    for (const address of addresses) {
      if (present.includes(address)) continue;
      netlink.addAddress(link, address);
      if (settled) this.#repaired('address', `${link.name}: put back ${address}`);
    }
  }

  #applyRoutes(device: Device, plan: DevicePlan, link: Link): readonly KerseyError[] {
    const { netlink } = this.#options;
    const wanted = new Map(plan.routes.map((route) => [route.dst, route]));
    const present = new Set<string>();
    const removals: RouteOperation[] = [];
    const foreign: string[] = [];
    for (const family of familiesOf(plan)) {
      for (const route of netlink.routes(family, link)) {
        const wish = wanted.get(route.dst);
        if (wish !== undefined && isAsWished(route, wish)) {
          present.add(route.dst);
        } else if (route.protocol !== RTPROT.KERNEL) {
          removals.push({ action: 'delete', route: asChange(route, link) });
          // A route whose lease has gone is no repair.
          if (wish === undefined && !device.routes.has(route.dst)) foreign.push(route.dst);
        }
      }
    }
    const missing = plan.routes.filter(({ dst }) => !present.has(dst));
    const lost = missing.filter(({ dst, via }) => device.routes.has(dst) && device.routes.get(dst) === via);
    const lostNames = lost.map(({ dst }) => dst);
    this.#repaired(
      'route',
      `${link.name}: removed ${named(foreign)}, which no lease calls for`,
      foreign.length,
    );
    this.#repaired('route', `${link.name}: put back ${named(lostNames)}`, lost.length);
    const additions = missing.map(({ dst, via, scope }): RouteOperation => {
      const how = via === undefined ? { scope: scopes[scope ?? 'link'] } : { via, onlink: true };
      return { action: 'replace', route: { dst, device: link, ...how } };
    });
    const problems = netlink.changeRoutes([...removals, ...additions]);
    const done = plan.routes.filter(({ dst }) => problems.length === 0 || present.has(dst));
    device.routes = new Map(done.map(({ dst, via }) => [dst, via]));
    return problems;
  }

  #repaired(kind: RepairKind, what: string, times = 1): void {
    if (times === 0) return;
    this.#repairs[kind] += times;
    this.#options.onRepair(kind, what);
  }
}

const scopes = { link: RT_SCOPE.LINK, global: RT_SCOPE.UNIVERSE } as const;

/** Those whose routes may lead over the device. */
function familiesOf({ family, addresses }: DevicePlan): readonly (4 | 6)[] {
  const found = new Set(addresses.map((address) => (address.includes(':') ? 6 : 4)));
  return found.size === 0 ? [family] : [...found];
}

function isAsWished(route: Route, { via, scope }: DevicePlan['routes'][number]): boolean {
  if (route.via !== via || route.metric !== defaultMetric[route.family]) return false;
  // IPv6 has no scopes.
  return via !== undefined ? route.onlink : route.family === 6 || route.scope === scopes[scope ?? 'link'];
}

function asChange(route: Route, device: Link): RouteOperation['route'] {
  return {
    dst: route.dst,
    device,
    metric: route.metric,
    ...(route.via !== undefined && { via: route.via }),
  };
}
