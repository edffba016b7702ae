// Where packets were lost between a sender and a receiver: what the hosts' kernels and engines counted.
//
// A loss that no counter explains is a mistake of somebody. Counted are, in packets:
//   devices      `ip -s link`: dropped and errors, both directions, of every device; a TUN whose queue is full among
//                them. And what queueing disciplines dropped (`tc -s qdisc`).
//   receiver     datagrams that found the receiving program's socket full, or closed: InErrors and NoPorts of
//                /proc/net/snmp, of which NoPorts counts a train of datagrams (a UDP superpacket) as one
//   engine       Kersey's own drops, by reason
//   underlay     between two engines: what one sent and the other did not see
//
// On the underlay the kernel counts datagrams, and a datagram may be a train of many frames. So with engines its
// counters (sockets that stay open while a test runs, /proc/net/udp; the underlay device) only say that packets were lost there, and
// the engines' own counts say how many. Not handled: IPv6, whose UDP counters are elsewhere.

import type { Host } from './host.ts';

/** What one host's kernel has dropped since the host exists. */
export interface HostDrops {
  /** By device, without the underlay's. */
  readonly devices: Readonly<Record<string, number>>;
  readonly underlayDevice: number;
  /** Datagrams that UDP sockets refused, all together. */
  readonly sockets: number;
  /** Datagrams, and trains of them, for which there was no socket. */
  readonly portless: number;
  /** Of these, at each socket that is open now, by inode. */
  readonly openSockets: Readonly<Record<string, number>>;
}

/** What all engines of a lab have counted so far. */
export interface EngineTotals {
  readonly txPackets: number;
  readonly rxPackets: number;
  readonly drops: Readonly<Record<string, number>>;
}

export interface DropSnapshot {
  readonly hosts: Readonly<Record<string, HostDrops>>;
  readonly engines?: EngineTotals;
}

export interface LossAccount {
  readonly sent: number;
  readonly delivered: number;
  /** Packets lost, by place; places without loss are left out. */
  readonly places: Readonly<Record<string, number>>;
  /** Packets that had come all the way and that the receiving program did not read: its socket was full, or it stopped. */
  readonly atReceiver: number;
  readonly unexplained: number;
}

/**
 * A receiver that is told to stop leaves in its socket what it has not read: at most 208 KiB (net.core.rmem_default) at
 * 768 bytes a small packet. No counter tells. Where the socket had overflowed, up to so many missing packets are
 * therefore explained; where it had not, fewer than this are no proof of a mistake.
 */
export const unreadLimit = 300;

/** Datagrams in a train: UDP_MAX_SEGMENTS of linux/udp.h. */
const trainMost = 128;

export async function readDrops(hosts: readonly Host[], engines?: EngineTotals): Promise<DropSnapshot> {
  const all = await Promise.all(hosts.map(async (host) => [host.name, await readHost(host)] as const));
  return { hosts: Object.fromEntries(all), ...(engines === undefined ? {} : { engines }) };
}

async function readHost(host: Host): Promise<HostDrops> {
  const read = async (...argv: readonly string[]): Promise<string> => (await host.exec(argv)).stdout;
  const [links, qdiscs, snmp, udp] = await Promise.all([
    read('ip', '-j', '-s', 'link'),
    read('tc', '-j', '-s', 'qdisc'),
    read('cat', '/proc/net/snmp'),
    read('cat', '/proc/net/udp'),
  ]);
  return parseHostDrops({ links, qdiscs, snmp, udp, underlay: host.device });
}

interface Direction {
  readonly errors: number;
  readonly dropped: number;
}

interface Link {
  readonly ifname: string;
  readonly stats64: { readonly rx: Direction; readonly tx: Direction };
}

export function parseHostDrops(text: {
  readonly links: string;
  readonly qdiscs: string;
  readonly snmp: string;
  readonly udp: string;
  readonly underlay: string;
}): HostDrops {
  const devices: Record<string, number> = {};
  const add = (device: string, count: number): void => {
    devices[device] = (devices[device] ?? 0) + count;
  };
  for (const { ifname, stats64 } of JSON.parse(text.links) as Link[]) {
    for (const { errors, dropped } of [stats64.rx, stats64.tx]) add(ifname, errors + dropped);
  }
  for (const { dev, drops = 0 } of JSON.parse(text.qdiscs) as { dev: string; drops?: number }[])
    add(dev, drops);
  const { [text.underlay]: underlayDevice = 0, ...others } = devices;
  return {
    ...{ devices: others, underlayDevice },
    sockets: udpCounter(text.snmp, 'InErrors'),
    portless: udpCounter(text.snmp, 'NoPorts'),
    openSockets: Object.fromEntries(text.udp.trim().split('\n').slice(1).map(socketDrops)),
  };
}

function udpCounter(snmp: string, name: string): number {
  const [names = [], values = []] = snmp
    .split('\n')
    .filter((line) => line.startsWith('Udp:'))
    .map((line) => line.split(' '));
  return Number(values[names.indexOf(name)] ?? 0);
}

/** The last columns of /proc/net/udp are "inode ref pointer drops". */
function socketDrops(line: string): readonly [inode: string, drops: number] {
  const [inode = '', , , drops] = line.trim().split(/\s+/).slice(-4);
  return [inode, Number(drops)];
}

/** Sockets that were there before are a tunnel's: those of a program that measures come and go. */
function atTunnel(before: HostDrops, after: HostDrops): number {
  return sum(
    Object.entries(before.openSockets).map(([inode, drops]) => (after.openSockets[inode] ?? drops) - drops),
  );
}

/** Where the packets went that were sent between the two snapshots and not delivered. */
export function lossAccount(
  counts: { readonly sent: number; readonly delivered: number },
  before: DropSnapshot,
  after: DropSnapshot,
): LossAccount {
  const places: Record<string, number> = {};
  let atReceiver = 0;
  let onUnderlay = 0;
  let portless = 0;
  for (const [name, now] of Object.entries(after.hosts)) {
    const then = before.hosts[name];
    if (then === undefined) continue;
    for (const [device, count] of Object.entries(now.devices))
      places[`${name} ${device}`] = count - (then.devices[device] ?? 0);
    const tunnel = atTunnel(then, now);
    atReceiver += Math.max(0, now.sockets - then.sockets - tunnel);
    portless += now.portless - then.portless;
    onUnderlay += now.underlayDevice - then.underlayDevice + tunnel;
  }
  places["the receiver's socket"] = atReceiver;
  places['underlay'] = onUnderlay;
  if (before.engines !== undefined && after.engines !== undefined)
    addEngines(places, before.engines, after.engines);
  const lost = Object.entries(places).filter(([, count]) => count > 0);
  const missing = Math.max(0, counts.sent - counts.delivered - sum(lost.map(([, count]) => count)));
  const unread = explainedByEnd(missing, atReceiver, portless);
  if (unread > 0) {
    const place = portless > 0 ? 'after the receiver ended' : "left unread in the receiver's socket";
    lost.push([place, unread]);
  }
  const { sent, delivered } = counts;
  return {
    ...{ sent, delivered, places: Object.fromEntries(lost) },
    ...{ atReceiver: atReceiver + unread, unexplained: missing - unread },
  };
}

/** How many of the missing packets came when the receiving program had ended. */
function explainedByEnd(missing: number, refused: number, portless: number): number {
  const most = (refused + portless > 0 ? unreadLimit : 0) + portless * trainMost;
  return missing <= most ? missing : portless;
}

function addEngines(places: Record<string, number>, before: EngineTotals, after: EngineTotals): void {
  let refused = 0;
  for (const [reason, count] of Object.entries(after.drops)) {
    const dropped = count - (before.drops[reason] ?? 0);
    places[`Kersey ${reason}`] = dropped;
    if (reason.startsWith('rx_')) refused += dropped;
  }
  const sent = after.txPackets - before.txPackets;
  const seen = after.rxPackets - before.rxPackets + refused;
  if ((places['underlay'] ?? 0) > 0) places['underlay'] = Math.max(0, sent - seen);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
