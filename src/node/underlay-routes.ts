// Routes over interfaces that are not ours: host-gw, DirectRouting. They carry our protocol number, so that those of an
// earlier run are known and removed, and nobody else's ever are.
//
// A route of another protocol to exactly a peer's subnet is taken over: flannel leaves such routes behind, and the subnet
// is the peer's.

import type { UnderlayRoute } from '../backend/plan.ts';
import type { KerseyError } from '../errors.ts';
import type { Family } from '../net/ip.ts';
import type { Netlink, RouteOperation } from '../netlink/client.ts';
import { KERSEY_RTPROT } from '../netlink/constants.ts';
import type { DeviceRef } from '../netlink/link.ts';
import type { Route } from '../netlink/route.ts';
import type { OnRepair } from './devices/driver.ts';

export type UnderlayNetlink = Pick<Netlink, 'routes' | 'changeRoutes' | 'links'>;

/** What a route has that names no metric. */
export const defaultMetric: Readonly<Record<Family, number>> = { 4: 0, 6: 1024 };

/** How many routes a line of the log names. */
const namedRoutes = 3;

export class UnderlayRoutes {
  readonly #netlink: UnderlayNetlink;
  readonly #onRepair: OnRepair;
  /** Those that had been put in order, as they were wished for. */
  #settled: ReadonlySet<string> = new Set();

  constructor(netlink: UnderlayNetlink, onRepair: OnRepair) {
    this.#netlink = netlink;
    this.#onRepair = onRepair;
  }

  /** @returns what could not be done */
  apply(routes: readonly UnderlayRoute[]): readonly KerseyError[] {
    const links = this.#netlink.links();
    const byName = new Map(links.map((link) => [link.name, link]));
    const byIndex = new Map(links.map((link) => [link.index, link]));
    const wanted = new Map<string, UnderlayRoute & { readonly link: DeviceRef }>();
    for (const route of routes) {
      const link = byName.get(route.device);
      // Without its interface there is no route; the node says so already.
      if (link !== undefined) wanted.set(keyOf(route), { ...route, link });
    }
    const present = new Set<string>();
    const operations: RouteOperation[] = [];
    for (const family of [4, 6] as const) {
      for (const route of this.#netlink.routes(family, undefined, KERSEY_RTPROT)) {
        const wish = wanted.get(keyOf(route));
        if (wish !== undefined && isAsWished(route, wish)) {
          present.add(keyOf(route));
          continue;
        }
        const device = route.device === undefined ? undefined : byIndex.get(route.device);
        if (device === undefined) continue;
        const { dst, metric, via, protocol } = route;
        operations.push({
          action: 'delete',
          route: { dst, device, metric, protocol, ...(via !== undefined && { via }) },
        });
      }
    }
    const missing = [...wanted].filter(([key]) => !present.has(key));
    const lost = missing.flatMap(([, wish]) => (this.#settled.has(wishText(wish)) ? [wish.dst] : []));
    if (lost.length > 0) this.#onRepair('route', `put back ${named(lost)}`, lost.length);
    for (const [, { dst, via, link, onlink }] of missing) {
      const route = { dst, via, device: link, onlink, protocol: KERSEY_RTPROT };
      operations.push({ action: 'replace', route });
    }
    const problems = operations.length === 0 ? [] : this.#netlink.changeRoutes(operations);
    const done = [...wanted].filter(([key]) => problems.length === 0 || present.has(key));
    this.#settled = new Set(done.map(([, wish]) => wishText(wish)));
    return problems;
  }
}

function keyOf({ family, dst }: Pick<UnderlayRoute, 'family' | 'dst'>): string {
  return `${family} ${dst}`;
}

function wishText({ dst, via, device }: UnderlayRoute): string {
  return `${dst} ${via} ${device}`;
}

function isAsWished(
  route: Route,
  { via, link, onlink, family }: UnderlayRoute & { link: DeviceRef },
): boolean {
  return (
    route.via === via &&
    route.device === link.index &&
    route.onlink === onlink &&
    route.metric === defaultMetric[family]
  );
}

/** `the routes 10.5.1.0/24, 10.5.2.0/24 and 7 more` */
export function named(routes: readonly string[]): string {
  const rest = routes.length - namedRoutes;
  const names = routes.slice(0, namedRoutes).join(', ');
  return `the route${routes.length === 1 ? '' : 's'} ${names}${rest > 0 ? ` and ${rest} more` : ''}`;
}
