// `kersey cleanup`: removes what daemons that were killed, other backends and flannel itself have left on this host.
//
//   routes    those of the main table that carry our protocol number
//   devices   by name and kind: the names are flannel's, which nobody else uses for such devices
//   rules     by table and chain (src/firewall/remove.ts)
//   files     subnet.env, sockets of this network namespace; with --state also what a next start would go on with
//
// Sysctls need nothing: those that are set are of our own devices (src/node/sysctl.ts, native/engine/inject.c), and go
// with them.
//
// Not while a daemon runs: it would put everything back. The lease stays in the store, which may be away, and whose
// subnet containers may still use; the last line says how to give it up.
//
// Not handled: routes without our number that flannel's host-gw has left (`kersey up` names them), containers, bridges.

import { lstatSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import path from 'node:path';

import { errnoName, errnoText, KerseyError, oneLine } from '../errors.ts';
import { removeFirewall } from '../firewall/remove.ts';
import { cidrEqual, formatCidr, tryParseCidr } from '../net/cidr.ts';
import type { Cidr } from '../net/cidr.ts';
import { Netlink } from '../netlink/client.ts';
import { KERSEY_RTPROT } from '../netlink/constants.ts';
import type { Link } from '../netlink/link.ts';
import { routeRemoval, routeText } from '../netlink/route-text.ts';
import type { Route } from '../netlink/route.ts';
import { parsePreviousSubnets } from '../node/subnet-env.ts';
import { askDaemon, controlDirectory } from '../observe/control.ts';
import { holdRunDirectory } from './cleanup-guard.ts';
import { withSignals } from './interrupt.ts';
import type { Output } from './options.ts';
import { reportError } from './report-error.ts';

export interface CleanupOptions {
  readonly subnetFile: string;
  readonly runDir: string;
  readonly stateDir: string;
  readonly wireguardKey: string;
  /** Also what a next start would go on with. */
  readonly state: boolean;
  readonly dryRun: boolean;
  readonly output: Output;
}

export const defaultWireguardKey = '/run/flannel/wgkey';

interface Leftover {
  readonly kind: 'route' | 'device' | 'rules' | 'file';
  readonly what: string;
}

interface Outcome {
  readonly removed: Leftover[];
  /** What looks like ours and is not. */
  readonly left: (Leftover & { readonly why: string })[];
  readonly problems: KerseyError[];
}

/** Devices of each name, by the kinds that we or flannel make them of. */
const deviceNames: readonly (readonly [name: RegExp, kinds: readonly string[]])[] = [
  [/^flannel(-v6)?\.\d+$/, ['vxlan', 'tun']],
  [/^flannel\d+$/, ['tun']],
  [/^flannel\.ipip$/, ['ipip']],
  [/^flannel-wg(-v6)?$/, ['wireguard', 'tun']],
];

export async function cleanup(options: CleanupOptions): Promise<void> {
  const { dryRun, output } = options;
  const outcome: Outcome = { removed: [], left: [], problems: [] };
  const subnets = subnetsOf(options.subnetFile);
  await withSignals(async (signal) => {
    const release = await holdRunDirectory(options.runDir);
    try {
      cleanNetwork(outcome, dryRun);
      const rules = await removeFirewall(signal, dryRun);
      outcome.removed.push(...rules.removed.map((what) => ({ kind: 'rules' as const, what })));
      outcome.problems.push(...rules.problems);
      await cleanFiles(outcome, options, subnets);
    } finally {
      release();
    }
  });
  const lease = subnets.map(formatCidr).join(',');
  process.stdout.write(output === 'json' ? json(outcome, lease, dryRun) : text(outcome, lease, dryRun));
  const last = outcome.problems.pop();
  for (const problem of outcome.problems) reportError(problem);
  if (last !== undefined) throw last;
}

function cleanNetwork(outcome: Outcome, dryRun: boolean): void {
  const netlink = Netlink.open();
  try {
    const links = netlink.links();
    const ours: Link[] = [];
    for (const link of links) {
      const kinds = deviceNames.find(([name]) => name.test(link.name))?.[1];
      if (kinds === undefined) continue;
      const kind = link.kind ?? 'hardware';
      if (kinds.includes(kind)) ours.push(link);
      else
        outcome.left.push({
          kind: 'device',
          what: link.name,
          why: `it is no ${kinds.join(' or ')}, but ${kind}`,
        });
    }
    refuseHeld(ours);
    for (const route of [...netlink.routes(4), ...netlink.routes(6)]) {
      if (route.protocol !== KERSEY_RTPROT) continue;
      // It goes with the device.
      if (ours.some(({ index }) => index === route.device)) continue;
      const device = links.find(({ index }) => index === route.device);
      take(outcome, dryRun, { kind: 'route', what: routeText(route, device?.name) }, () => {
        deleteRoute(netlink, route, device);
      });
    }
    for (const link of ours) {
      take(outcome, dryRun, { kind: 'device', what: link.name }, () => {
        netlink.deleteLink(link);
      });
    }
  } finally {
    netlink.close();
  }
}

/**
 * A TUN device has a carrier while a process has it open: a daemon with another run directory, or flannel. Not so with
 * wireguard-go, which outlives the daemon and ends with its device.
 */
function refuseHeld(links: readonly Link[]): void {
  const held = links.find(
    ({ name, kind, lowerUp }) => kind === 'tun' && lowerUp && !name.startsWith('flannel-wg'),
  );
  if (held === undefined) return;
  throw new KerseyError('DAEMON_RUNNING', `a process has the device ${held.name} open`, {
    remedy: `stop the daemon first; \`grep -l ${held.name} /proc/[0-9]*/fdinfo/*\` finds it`,
  });
}

function deleteRoute(netlink: Netlink, route: Route, device: Link | undefined): void {
  if (device === undefined) {
    throw new KerseyError(
      'NETLINK',
      `cannot delete the route ${routeText(route, undefined)}: it has no one device`,
      {
        remedy: routeRemoval(route, undefined),
      },
    );
  }
  const { dst, via, protocol, metric } = route;
  netlink.deleteRoute({
    dst,
    device,
    protocol,
    ...(via !== undefined && { via }),
    ...(metric !== 0 && { metric }),
  });
}

async function cleanFiles(
  outcome: Outcome,
  { subnetFile, runDir, stateDir, wireguardKey, state, dryRun }: CleanupOptions,
  subnets: readonly Cidr[],
): Promise<void> {
  const remove = (file: string): void => {
    take(outcome, dryRun, { kind: 'file', what: file }, () => {
      removeFile(file);
    });
  };
  const leave = (what: string, why: string): void => {
    outcome.left.push({ kind: 'file', what, why });
  };
  const sockets = controlDirectory(runDir);
  for (const name of filesIn(sockets, /\.sock$/)) {
    const file = path.join(sockets, name);
    if (lstatSync(file).isSocket()) remove(file);
    else leave(file, 'it is no socket');
  }

  const user = await userElsewhere(runDir, subnets);
  if (user !== undefined)
    leave(subnetFile, `the daemon at ${user}, in another network namespace, has this subnet`);
  else if (subnets.length > 0 && isSubnetEnv(subnetFile)) remove(subnetFile);
  else if (lstatSync(subnetFile, { throwIfNoEntry: false })) leave(subnetFile, 'its content is not ours');
  const directory = path.dirname(path.resolve(subnetFile));
  // What a writer that was killed has left.
  const temporary = new RegExp(`^\\.${path.basename(subnetFile).replace(/[^\w]/g, '\\$&')}\\.\\d+$`);
  for (const name of filesIn(directory, temporary)) remove(path.join(directory, name));

  if (state) {
    for (const name of filesIn(stateDir, /^etcd-[\da-f]{12}\.json(\.\d+)?$/))
      remove(path.join(stateDir, name));
    if (isWireguardKey(wireguardKey)) remove(wireguardKey);
    else if (lstatSync(wireguardKey, { throwIfNoEntry: false })) leave(wireguardKey, 'it is no key');
  }
  if (!dryRun)
    for (const empty of [sockets, path.resolve(runDir), ...(state ? [stateDir] : [])]) removeEmpty(empty);
}

/** Removes it, unless only asked to tell, and notes what came of it. */
function take(outcome: Outcome, dryRun: boolean, leftover: Leftover, remove: () => void): void {
  try {
    if (!dryRun) remove();
    outcome.removed.push(leftover);
  } catch (error) {
    outcome.problems.push(KerseyError.from(error));
  }
}

function removeFile(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch (cause) {
    throw new KerseyError('FILE_UNWRITABLE', `cannot remove ${file}: ${errnoText(cause)}`, {
      remedy: 'run as root, and check its file system',
      cause,
    });
  }
}

function removeEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Something else is in it, or it was never there.
  }
}

function filesIn(directory: string, name: RegExp): readonly string[] {
  try {
    return readdirSync(directory)
      .filter((one) => name.test(one))
      .sort();
  } catch (error) {
    if (errnoName(error) === 'ENOENT' || errnoName(error) === 'ENOTDIR') return [];
    throw error;
  }
}

/** undefined when there is no such file, or none that can be read. */
function contentOf(file: string): string | undefined {
  try {
    return lstatSync(file).isFile() ? readFileSync(file, 'utf8') : undefined;
  } catch {
    return undefined;
  }
}

/** Whether it is nothing but what we, and flannel, write there. */
function isSubnetEnv(file: string): boolean {
  const lines = (contentOf(file) ?? '').split('\n').filter((line) => line !== '');
  return (
    lines.length > 0 &&
    lines.every((line) => /^FLANNEL_((IPV6_)?(NETWORK|SUBNET)|MTU|IPMASQ)=\S*$/.test(line))
  );
}

function isWireguardKey(file: string): boolean {
  return /^[A-Za-z0-9+/]{43}=\n?$/.test(contentOf(file) ?? '');
}

function subnetsOf(subnetFile: string): readonly Cidr[] {
  const { subnet, ipv6Subnet } = parsePreviousSubnets(contentOf(subnetFile) ?? '');
  return [subnet, ipv6Subnet].filter((cidr) => cidr !== undefined);
}

/** The socket of a daemon in another network namespace that has one of the subnets: subnet.env is its own, too. */
async function userElsewhere(runDir: string, subnets: readonly Cidr[]): Promise<string | undefined> {
  for (const namespace of filesIn(runDir, /^\d+$/)) {
    for (const name of filesIn(path.join(runDir, namespace), /\.sock$/)) {
      const file = path.join(runDir, namespace, name);
      const lease = (await askDaemon(file).catch(() => undefined))?.lease;
      const held = [lease?.subnet, lease?.subnet6].map((cidr) => tryParseCidr(cidr ?? ''));
      if (subnets.some((cidr) => held.some((one) => cidrEqual(one, cidr)))) return file;
    }
  }
  return undefined;
}

function advice(lease: string): string {
  return lease === ''
    ? 'a lease of this host stays in the store: `kersey leases --store STORE` shows it, `kersey leases release SUBNET --store STORE` gives it up'
    : `the lease of ${lease} stays in the store; to give it up: kersey leases release ${lease} --store STORE`;
}

function text({ removed, left, problems }: Outcome, lease: string, dryRun: boolean): string {
  const verb = dryRun ? 'would remove' : 'removed';
  const lines = [
    ...removed.map(({ kind, what }) => `${verb} ${kind === 'rules' ? '' : `the ${kind} `}${what}`),
    ...left.map(({ what, why }) => `left ${what}: ${why}`),
    removed.length > 0 ? advice(lease) : problems.length > 0 ? 'nothing was removed' : 'nothing to remove',
  ];
  return lines.map((line) => `${oneLine(line)}\n`).join('');
}

function json({ removed, left, problems }: Outcome, lease: string, dryRun: boolean): string {
  return `${JSON.stringify({ dryRun, removed, left, problems, lease: lease === '' ? null : lease }, null, 2)}\n`;
}
