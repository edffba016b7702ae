// A WireGuard device: made by the kernel or, where the kernel has none, by wireguard-go; either is configured by `wg`.
//
//   ensure       the device is there, whoever made it; a wireguard-go that ended or hangs is started again
//   applyPeers   what `wg show <device> dump` says is compared with the plan; the difference goes to `wg addconf`, by its
//                standard input, so that no key stands in a command line
//
// A comparison costs one `wg show`. All of it is synchronous: these programs take a few milliseconds.
//
// A WireGuard device of our name that exists already is adopted when it is the kernel's. One that another wireguard-go
// serves is what a killed daemon has left: it is replaced, because the process is not ours to watch. As with flannel the
// device goes when the driver is closed.
//
// Not handled: fwmark, which stays as it is.

import { readFileSync } from 'node:fs';

import type { WireguardDevicePlan } from '../../backend/plan.ts';
import { KerseyError, errnoName } from '../../errors.ts';
import type { Netlink } from '../../netlink/client.ts';
import type { Link } from '../../netlink/link.ts';
import { createLink } from '../../netlink/link-create.ts';
import type { DeviceDriver, DeviceState, OnRepair } from './driver.ts';
import { environment, must, requireWg, wg, wgFailed } from './wg.ts';
import { compare, configText, isEmpty, parseDump } from './wireguard-config.ts';
import type { Difference, LiveDevice } from './wireguard-config.ts';
import { WireguardGo, hasControlSocket, waitUntil } from './wireguard-go.ts';

export interface WireguardDeviceOptions {
  readonly netlink: Pick<Netlink, 'link' | 'links' | 'deleteLink' | 'setLink'>;
  readonly onRepair: OnRepair;
  /** Asks the kernel for a device; createLink unless told. */
  readonly createLink?: (name: string, kind: string) => void;
  /** Milliseconds from any start; performance.now unless told. */
  readonly now?: () => number;
}

type Maker = { readonly kind: 'kernel' } | { readonly kind: 'wireguard-go'; readonly process: WireguardGo };

interface Running {
  readonly name: string;
  readonly maker: Maker;
  /** Of the device, which somebody may rename. */
  readonly index: number;
  readonly openedAt: number;
  /** How often in a row it was lost soon after it was made. */
  readonly losses: number;
  /** The plan that the device was given last. */
  applied: WireguardDevicePlan | undefined;
}

/** A device that has to be made again, from when this is found until it is done. */
interface Loss {
  readonly why: string;
  readonly inRow: number;
  /** It had been in order, so that making it is a repair. */
  readonly settled: boolean;
}

/** What a wireguard-go without its device takes at most to leave, in milliseconds. */
const leaveTime = 3000;
/** What wireguard-go takes at most to bind its port after the device went up, in milliseconds. */
const bindTime = 200;
/** As in engine-device.ts. */
const soundLife = 10_000;
const firstWait = 500;
const longestWait = 30_000;
/** Peers that one command line names. */
const removedAtOnce = 500;
/** How many peers a line of the log names. */
const namedPeers = 3;

export class WireguardDevice implements DeviceDriver<WireguardDevicePlan> {
  readonly kind = 'wireguard';
  readonly #options: WireguardDeviceOptions;
  #running: Running | undefined;
  #lost: Loss | undefined;
  #failed: string | undefined;

  constructor(options: WireguardDeviceOptions) {
    this.#options = options;
  }

  /** Who serves the device, and the process where it is one. */
  get maker(): Maker['kind'] | undefined {
    return this.#running?.maker.kind;
  }

  get pid(): number | undefined {
    const maker = this.#running?.maker;
    return maker?.kind === 'wireguard-go' ? maker.process.pid : undefined;
  }

  ensure(plan: WireguardDevicePlan): Link {
    try {
      const link = this.#ensure(plan);
      this.#failed = undefined;
      return link;
    } catch (error) {
      this.#failed = KerseyError.from(error).message;
      throw error;
    }
  }

  applyPeers(plan: WireguardDevicePlan, link: Link): readonly KerseyError[] {
    const running = this.#running;
    if (running === undefined) throw new KerseyError('INTERNAL', `the device ${plan.name} is not open`);
    const before = running.applied;
    const endpoints = new Map(before?.peers.map((peer) => [peer.publicKey, peer.endpoint]));
    const live = this.#dump(plan.name);
    const difference = compare(plan, live, endpoints, Date.now() / 1000);
    const problems: KerseyError[] = [];
    if (!isEmpty(difference)) {
      try {
        this.#change(plan, difference);
      } catch (error) {
        return [KerseyError.from(error)];
      }
      if (before !== undefined) this.#tellRepairs(plan, before, difference);
    }
    running.applied = plan;
    if (link.up && !portIsBound(plan.listenPort)) problems.push(...this.#bind(plan, link));
    return problems;
  }

  state(): DeviceState {
    if (this.#failed !== undefined) return { kind: 'failed', reason: this.#failed };
    return { kind: this.#running === undefined ? 'closed' : 'running' };
  }

  stats(): undefined {
    return undefined;
  }

  close(): void {
    this.remove();
  }

  remove(): void {
    this.#end();
    this.#lost = undefined;
    this.#failed = undefined;
  }

  #end(): void {
    const running = this.#running;
    this.#running = undefined;
    if (running === undefined) return;
    const { netlink } = this.#options;
    const { name, maker, index } = running;
    if (maker.kind === 'wireguard-go') {
      maker.process.end();
      // It goes with the last of its threads, which may be a moment after the first.
      waitUntil(() => netlink.link(name) === undefined, leaveTime);
    } else {
      const link = netlink.links().find((each) => each.index === index && each.kind === 'wireguard');
      if (link !== undefined) netlink.deleteLink(link);
    }
  }

  #ensure(plan: WireguardDevicePlan): Link {
    const running = this.#running;
    if (running !== undefined) {
      const link = this.#options.netlink.link(running.name);
      const why = whyLost(running, plan, link);
      if (why === undefined && link !== undefined) return link;
      this.#lost = this.#loss(running, why ?? `the device ${running.name} was gone`);
      this.#end();
    }
    const lost = this.#lost;
    const link = this.#open(plan, lost?.inRow ?? 0);
    this.#lost = undefined;
    if (lost?.settled === true) this.#options.onRepair('device', `${lost.why}; made again`);
    return link;
  }

  /** @throws KerseyError when it is lost time and again: whoever does that shall not make us spin */
  #loss({ openedAt, losses, applied }: Running, why: string): Loss {
    const lived = this.#now() - openedAt;
    const inRow = lived >= soundLife ? 0 : losses + 1;
    const wait = inRow < 2 ? 0 : Math.min(longestWait, firstWait * 2 ** (inRow - 2));
    if (lived >= wait) return { why, inRow, settled: applied !== undefined };
    throw new KerseyError('COMMAND_FAILED', `${why}, ${inRow} times in a row; the next try is in a moment`, {
      remedy: 'see who removes it with `ip monitor link`',
    });
  }

  #open(plan: WireguardDevicePlan, losses: number): Link {
    const { name } = plan;
    const maker = this.#adopt(name) ?? this.#make(name);
    const link = this.#options.netlink.link(name);
    if (link === undefined) {
      if (maker.kind === 'wireguard-go') maker.process.end();
      throw new KerseyError('NETLINK', `the device ${name} was gone as soon as it was made`);
    }
    this.#running = { name, maker, index: link.index, openedAt: this.#now(), losses, applied: undefined };
    // A port that another has is worth no lease.
    if (!link.up && portIsBound(plan.listenPort)) {
      this.#end();
      throw portInUse(plan);
    }
    return link;
  }

  /** What is there under our name: taken over, or out of the way. @throws KerseyError DEVICE_TAKEN */
  #adopt(name: string): Maker | undefined {
    const { netlink } = this.#options;
    const link = netlink.link(name);
    if (link === undefined) return undefined;
    if (link.kind === 'wireguard') return { kind: 'kernel' };
    const served = link.kind === 'tun' && hasControlSocket(name) && wg(['show', name, 'dump']).status === 0;
    if (!served) {
      const message = `a device ${name} exists and is of the kind ${link.kind ?? 'hardware'}, not wireguard`;
      throw new KerseyError('DEVICE_TAKEN', message, { remedy: `remove it (ip link delete ${name})` });
    }
    netlink.deleteLink(link);
    waitUntil(() => !hasControlSocket(name), leaveTime);
    return undefined;
  }

  #make(name: string): Maker {
    requireWg();
    let kernelSaid: unknown;
    try {
      (this.#options.createLink ?? createLink)(name, 'wireguard');
      return { kind: 'kernel' };
    } catch (error) {
      if (!kernelHasNone(error)) throw error;
      kernelSaid = error;
    }
    try {
      const appeared = (): boolean => this.#options.netlink.link(name) !== undefined;
      return { kind: 'wireguard-go', process: WireguardGo.start(name, appeared, environment()) };
    } catch (error) {
      if (!(error instanceof KerseyError) || error.code !== 'TOOL_MISSING') throw error;
      const message = `${name} cannot be made: this kernel has no wireguard, and 'wireguard-go' is not installed`;
      throw new KerseyError('TOOL_MISSING', message, {
        remedy:
          'load the module (modprobe wireguard), or install wireguard-go (Debian: apt-get install wireguard-go)',
        cause: kernelSaid,
      });
    }
  }

  /** @throws KerseyError */
  #dump(name: string): LiveDevice {
    const result = wg(['show', name, 'dump']);
    const live = result.status === 0 ? parseDump(result.stdout) : undefined;
    if (live !== undefined) return live;
    const maker = this.#running?.maker;
    if (errnoName(result.error) === 'ETIMEDOUT' && maker?.kind === 'wireguard-go') {
      // The next comparison finds it ended.
      maker.process.end();
    }
    throw wgFailed(`show ${name} dump`, result);
  }

  #change(plan: WireguardDevicePlan, difference: Difference): void {
    const text = configText(plan, difference);
    // Additions first: an allowed address moves to its new peer without a gap.
    if (text !== undefined) must(['addconf', plan.name, '/dev/stdin'], text);
    for (let at = 0; at < difference.remove.length; at += removedAtOnce) {
      const keys = difference.remove.slice(at, at + removedAtOnce);
      must(['set', plan.name, ...keys.flatMap((key) => ['peer', key, 'remove'])]);
    }
  }

  /** Of what was changed, the part that had been in order. */
  #tellRepairs(plan: WireguardDevicePlan, before: WireguardDevicePlan, difference: Difference): void {
    const { onRepair } = this.#options;
    const { name } = plan;
    if (difference.privateKey && plan.privateKey === before.privateKey)
      onRepair('device', `${name}: put back the private key`);
    if (difference.listenPort && plan.listenPort === before.listenPort)
      onRepair('device', `${name}: put back the port ${plan.listenPort}`);
    const known = new Map(before.peers.map((peer) => [peer.publicKey, JSON.stringify(peer)]));
    const back = difference.set.filter(({ peer }) => known.get(peer.publicKey) === JSON.stringify(peer));
    const foreign = difference.remove.filter((key) => !known.has(key));
    if (back.length > 0)
      onRepair('peer', `${name}: put right ${named(back.map(({ peer }) => peer.endpoint))}`, back.length);
    if (foreign.length > 0)
      onRepair('peer', `${name}: removed ${named(foreign)}, which no lease calls for`, foreign.length);
  }

  /** wireguard-go stays down inside when the port was taken as the device went up. Down and up has it try again. */
  #bind(plan: WireguardDevicePlan, link: Link): readonly KerseyError[] {
    const { netlink } = this.#options;
    // It may have gone up a moment ago.
    if (waitUntil(() => portIsBound(plan.listenPort), bindTime)) return [];
    try {
      netlink.setLink(link, { up: false });
      netlink.setLink(link, { up: true });
    } catch (error) {
      return [portInUse(plan, error)];
    }
    return waitUntil(() => portIsBound(plan.listenPort), bindTime) ? [] : [portInUse(plan)];
  }

  #now(): number {
    return this.#options.now?.() ?? performance.now();
  }
}

/** Why what was made is of no use any more. */
function whyLost(
  { name, maker, index }: Running,
  plan: WireguardDevicePlan,
  link: Link | undefined,
): string | undefined {
  if (maker.kind === 'wireguard-go') {
    maker.process.trim();
    if (!maker.process.running) {
      const said = maker.process.lastWords;
      return `wireguard-go of ${name} had ended${said === '' ? '' : ` (${said})`}`;
    }
  }
  if (link === undefined) return `the device ${name} was gone`;
  if (link.index !== index) return `another device has the name ${name}`;
  return plan.name === name ? undefined : `the device is to be called ${plan.name}`;
}

/** Node calls EOPNOTSUPP by the other name of its number. */
function kernelHasNone(error: unknown): boolean {
  const errno = errnoName(error instanceof Error ? error.cause : undefined);
  return errno === 'EOPNOTSUPP' || errno === 'ENOTSUP';
}

/** Whether some UDP socket of this network namespace has the port; the kernel's own are listed like others. */
function portIsBound(port: number): boolean {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['udp', 'udp6'].some((table) => {
    try {
      const lines = readFileSync(`/proc/self/net/${table}`, 'latin1').split('\n');
      return lines.some((line) => line.trim().split(/\s+/)[1]?.endsWith(wanted) === true);
    } catch {
      // No IPv6 in this kernel.
      return false;
    }
  });
}

function portInUse({ name, listenPort }: WireguardDevicePlan, cause?: unknown): KerseyError {
  return new KerseyError(
    'PORT_IN_USE',
    `${name} cannot listen on UDP port ${listenPort}, which another socket has`,
    {
      remedy: `see who has it (ss -ulnp 'sport = :${listenPort}'), or set config.Backend.ListenPort`,
      ...(cause !== undefined && { cause }),
    },
  );
}

function named(objects: readonly string[]): string {
  const rest = objects.length - namedPeers;
  const names = objects.slice(0, namedPeers).join(', ');
  return `the peer${objects.length === 1 ? '' : 's'} ${names}${rest > 0 ? ` and ${rest} more` : ''}`;
}
