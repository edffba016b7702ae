// `kersey leases [watch|reserve|release]`: who holds which subnet.

import { isJsonObject, parseJson } from '../config/json.ts';
import { parseNetworkConfig, subnetPool } from '../config/network.ts';
import type { NetworkConfig } from '../config/network.ts';
import { KerseyError, oneLine } from '../errors.ts';
import { compareCidr, formatCidr, parseCidr } from '../net/cidr.ts';
import type { Cidr } from '../net/cidr.ts';
import { canonicalIp, formatIp, parseIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import type { AdminLease, AdminLeases, StoreAdmin } from '../store/admin.ts';
import { inPool } from '../store/allocate.ts';
import { encodeAttrs, formatLeaseKey, parseLeaseKey } from '../store/lease.ts';
import type { JsonObject, LeaseAttrs, LeaseSubnets } from '../store/lease.ts';
import { withSignals } from './interrupt.ts';
import type { Output } from './options.ts';
import { withAdmin } from './store-options.ts';
import type { StoreFlags } from './store-options.ts';

export interface LeasesOptions extends StoreFlags {
  readonly output: Output;
}

export interface ReserveOptions extends StoreFlags {
  readonly publicIp?: string;
  readonly publicIpv6?: string;
}

export async function leases(options: LeasesOptions): Promise<void> {
  await withAdmin(options, async (admin) => {
    const found = await admin.leases();
    process.stdout.write(
      options.output === 'json'
        ? `${JSON.stringify({ store: admin.description, warnings: found.warnings, leases: sorted(found).map(leaseJson) }, null, 2)}\n`
        : leasesText(found, admin.description, options.store),
    );
  });
}

/** One line a change, what is there at first included, until SIGINT or until nobody reads. */
export async function leasesWatch(options: LeasesOptions): Promise<void> {
  await withSignals(async (signal) => {
    const unread = new AbortController();
    process.stdout.once('error', () => {
      unread.abort();
    });
    const stop = AbortSignal.any([signal, unread.signal]);
    await withAdmin(options, async (admin) => {
      let before: ReadonlyMap<string, AdminLease> = new Map();
      let warned: readonly string[] = [];
      for await (const found of admin.watchLeases(stop)) {
        for (const warning of found.warnings.filter((text) => !warned.includes(text))) {
          process.stderr.write(`warning: ${oneLine(warning)}\n`);
        }
        warned = found.warnings;
        const now = new Map(sorted(found).map((lease) => [lease.key, lease]));
        for (const change of changes(before, now))
          process.stdout.write(`${changeLine(change, options.output)}\n`);
        before = now;
      }
    });
    signal.throwIfAborted();
  });
}

export async function leasesReserve(text: string, options: ReserveOptions): Promise<void> {
  const subnets = parseSubnets(text);
  const attrs = reservation(subnets, options);
  await withAdmin(options, async (admin) => {
    await refuseUnfit(admin, subnets);
    const held = (await admin.leases()).entries.find(
      (entry) => holds(entry, attrs) && formatLeaseKey(entry) !== formatLeaseKey(subnets),
    );
    if (held !== undefined) {
      const message = `${admin.description}: ${attrs.publicIP ?? attrs.publicIPv6 ?? ''} has ${subnetsText(held)} already`;
      throw new KerseyError('STORE_CONFLICT', message, {
        remedy: `reserve that one, or stop its daemon and release it first: kersey leases release ${subnetsText(held)}`,
      });
    }
    await admin.reserve(subnets, attrs);
    const host = [attrs.publicIP, attrs.publicIPv6].filter((ip) => ip !== null).join(' and ');
    process.stdout.write(
      `reserved ${subnetsText(subnets)} for ${host}\nnext: kersey leases --store ${options.store}\n`,
    );
  });
}

export async function leasesRelease(text: string, options: StoreFlags): Promise<void> {
  const subnets = parseSubnets(text);
  await withAdmin(options, async (admin) => {
    if (!(await admin.release(subnets))) {
      throw new KerseyError('LEASE_MISSING', `${admin.description} has no lease of ${subnetsText(subnets)}`, {
        remedy: `see those that it has: kersey leases --store ${options.store}`,
      });
    }
    process.stdout.write(
      `released ${subnetsText(subnets)}; a daemon that still runs with it claims it again\n`,
    );
  });
}

/** `10.5.1.0/24`, `10.5.1.0/24,fd00:5:1::/64`, or the key itself: `10.5.1.0-24`. */
export function parseSubnets(text: string): LeaseSubnets {
  try {
    if (!text.includes('/')) return parseLeaseKey(text);
    const cidrs = text.split(',').map((part) => parseCidr(part.trim()));
    const of = (family: Family): LeaseSubnets['subnet'] => cidrs.find((cidr) => cidr.family === family);
    const subnets = { subnet: of(4), subnet6: of(6) };
    if (cidrs.length !== (subnets.subnet ? 1 : 0) + (subnets.subnet6 ? 1 : 0)) {
      throw new KerseyError('USAGE', 'at most one of a family');
    }
    const inside = text
      .split(',')
      .find((part, i) => canonicalIp((part.split('/')[0] ?? '').trim()) !== baseText(cidrs[i]));
    if (inside !== undefined)
      throw new KerseyError('USAGE', `${inside.trim()} does not begin where the subnet does`);
    // Whatever cannot be a key is no lease, such as a single address.
    return parseLeaseKey(formatLeaseKey(subnets));
  } catch (error) {
    if (!(error instanceof KerseyError)) throw error;
    throw new KerseyError('USAGE', `'${text}' is not the subnet of a lease: ${error.message}`, {
      remedy: 'write 10.5.1.0/24, or 10.5.1.0/24,fd00:5:1::/64 for both families',
      cause: error,
    });
  }
}

function baseText(cidr: Cidr | undefined): string {
  return cidr === undefined ? '' : formatIp(cidr.family, cidr.base);
}

/** The value of a lease that nobody uses yet: no backend, which flannel's nodes and ours leave alone. */
function reservation(subnets: LeaseSubnets, options: ReserveOptions): LeaseAttrs {
  const address = (family: Family, text: string | undefined, flag: string): string | null => {
    if (text === undefined) return null;
    const ip = parseIp(text);
    if (ip.family === family) return formatIp(family, ip.value);
    throw new KerseyError('USAGE', `${flag} ${text} is not an IPv${family} address`, {
      remedy: 'correct it',
    });
  };
  const publicIP = address(4, options.publicIp, '--public-ip');
  const publicIPv6 = address(6, options.publicIpv6, '--public-ipv6');
  const lacking =
    subnets.subnet && publicIP === null
      ? '--public-ip'
      : subnets.subnet6 && publicIPv6 === null
        ? '--public-ipv6'
        : undefined;
  if (lacking !== undefined) {
    throw new KerseyError('USAGE', `${lacking} is missing: for whom is ${subnetsText(subnets)} reserved?`, {
      remedy: `add ${lacking} and the address that the host is known by`,
    });
  }
  return { publicIP, publicIPv6 };
}

/** A subnet that the network does not lease would never be given to anybody. */
async function refuseUnfit(admin: StoreAdmin, subnets: LeaseSubnets): Promise<void> {
  const text = await admin.configText();
  const config = text === undefined ? undefined : valid(text);
  if (config === undefined) return;
  for (const family of [4, 6] as const) {
    const pool = subnetPool(config, family);
    const cidr = family === 4 ? subnets.subnet : subnets.subnet6;
    if (pool === undefined ? cidr === undefined : inPool(pool, cidr)) continue;
    const what =
      cidr === undefined
        ? `an IPv${family} subnet is missing`
        : `the network does not lease ${formatCidr(cidr)}`;
    const remedy =
      pool === undefined
        ? `leave it out: IPv${family} is not enabled`
        : `choose a /${pool.length} from ${formatIp(family, pool.min)} to ${formatIp(family, pool.max)}`;
    throw new KerseyError('USAGE', `${admin.description}: ${what}`, { remedy });
  }
}

function valid(text: string): NetworkConfig | undefined {
  try {
    return parseNetworkConfig(parseJson(text).value);
  } catch {
    // Its faults are the business of `kersey config`.
    return undefined;
  }
}

function holds({ attrs }: AdminLease, wanted: LeaseAttrs): boolean {
  if (attrs === undefined) return false;
  return wanted.publicIP === null
    ? attrs.publicIPv6 === wanted.publicIPv6
    : attrs.publicIP === wanted.publicIP;
}

type Change =
  | { readonly kind: 'added' | 'changed'; readonly lease: AdminLease }
  | { readonly kind: 'removed'; readonly lease: AdminLease };

function changes(
  before: ReadonlyMap<string, AdminLease>,
  now: ReadonlyMap<string, AdminLease>,
): readonly Change[] {
  // A renewal changes the time that is left, and nothing else.
  const content = (lease: AdminLease): string =>
    JSON.stringify({ ...leaseJson(lease), ttl: lease.ttl === undefined });
  const gone = [...before.values()].filter(({ key }) => !now.has(key));
  return [
    ...gone.map((lease): Change => ({ kind: 'removed', lease })),
    ...[...now.values()].flatMap((lease): readonly Change[] => {
      const old = before.get(lease.key);
      if (old === undefined) return [{ kind: 'added', lease }];
      return content(old) === content(lease) ? [] : [{ kind: 'changed', lease }];
    }),
  ];
}

function changeLine({ kind, lease }: Change, output: Output): string {
  if (output === 'json') return JSON.stringify({ change: kind, lease: leaseJson(lease) });
  return [kind.padEnd(8), ...row(lease).map(oneLine)].join('  ').trimEnd();
}

export function leasesText(found: AdminLeases, description: string, store: string): string {
  const list = sorted(found);
  const rows = [
    ['subnet', 'public IP', 'backend', 'VtepMAC', 'expires'],
    ...list.map((lease) => row(lease).map(oneLine)),
  ];
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((cells) => (cells[column] ?? '').length)),
  );
  const lines = rows.map((cells) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  const next =
    list.length === 0
      ? `next: kersey up --store ${store}`
      : `next: \`kersey leases watch --store ${store}\` prints what changes`;
  return [
    ...found.warnings.map((warning) => `warning: ${oneLine(warning)}`),
    ...(list.length === 0 ? [`${description} has no leases`] : lines),
    next,
    '',
  ].join('\n');
}

function row(lease: AdminLease): readonly string[] {
  const { attrs } = lease;
  if (attrs === undefined) return [subnetsText(lease), 'unreadable', '', '', expiry(lease)];
  const macs = [attrs.backendData, attrs.backendV6Data].flatMap((data) =>
    isJsonObject(data) && typeof data['VtepMAC'] === 'string' ? [data['VtepMAC']] : [],
  );
  return [
    subnetsText(lease),
    [attrs.publicIP, attrs.publicIPv6].filter((ip) => ip !== null).join(','),
    attrs.backendType ?? '-',
    macs.join(',') || '-',
    expiry(lease),
  ];
}

function expiry({ ttl }: AdminLease): string {
  if (ttl === undefined) return 'reserved';
  const [hours, minutes] = [Math.floor(ttl / 3600), Math.floor((ttl % 3600) / 60)];
  if (hours > 0) return `in ${hours} h ${minutes} min`;
  return minutes > 0 ? `in ${minutes} min` : `in ${ttl} s`;
}

function leaseJson(lease: AdminLease): JsonObject {
  return {
    key: lease.key,
    subnet: lease.subnet ? formatCidr(lease.subnet) : null,
    subnet6: lease.subnet6 ? formatCidr(lease.subnet6) : null,
    ttl: lease.ttl ?? null,
    value: lease.attrs === undefined ? null : encodeAttrs(lease.attrs),
  };
}

function subnetsText({ subnet, subnet6 }: LeaseSubnets): string {
  return [subnet, subnet6].flatMap((cidr) => (cidr ? [formatCidr(cidr)] : [])).join(',');
}

function sorted({ entries }: AdminLeases): readonly AdminLease[] {
  return [...entries].sort((a, b) => {
    const [x, y] = [a.subnet ?? a.subnet6, b.subnet ?? b.subnet6];
    return (x && y ? compareCidr(x, y) : 0) || (a.key < b.key ? -1 : 1);
  });
}
