// Hosts on flannel's udp wire: engines, each with the address and route that flanneld would give it, and what a
// recording of that wire has to look like.

import type { Test } from 'tap';
import type { Feature } from '../../src/engine/feature.ts';
import type { Host } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { ping } from '../../src/lab/measure.ts';
import { PayloadReceiver } from '../../src/lab/payload.ts';
import type { Capture } from './capture.ts';
import { checksumFields, checksumKinds, isWrongChecksum } from './checksum.ts';
import { EngineProcess } from './engine-process.ts';
import { FlannelProxy } from './flannel-proxy.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from './requirements.ts';

export const udpPort = 8285;
export const udpNetwork = '10.5.0.0/16';
/** On an underlay of 1500 bytes: less IPv4 and UDP. */
export const udpMtu = 1500 - 28;

export function skipUnlessUdpWire(): string | false {
  return (
    skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('ip', 'ping', 'ethtool', 'tcpdump', 'tshark')
  );
}

const numberOf = (lab: Lab, host: Host): number => lab.hosts.indexOf(host) + 1;
const subnetOf = (lab: Lab, host: Host): string => `10.5.${numberOf(lab, host)}.0/24`;

/** The overlay address of a host: the first of its subnet. */
export const addressOf = (lab: Lab, host: Host): string => `10.5.${numberOf(lab, host)}.0`;

const othersOf = (lab: Lab, host: Host): readonly Host[] => lab.hosts.filter((other) => other !== host);

export async function openUdpEngine(
  lab: Lab,
  host: Host,
  options: { readonly disable?: readonly Feature[]; readonly workers?: number } = {},
): Promise<EngineProcess> {
  const engine = await EngineProcess.open(host, {
    ...{ wire: 'udp', device: 'flannel0', port: udpPort, local: host.address4, mtu: udpMtu },
    ...options,
  });
  const peers = othersOf(lab, host).map((other) => ({ prefix: subnetOf(lab, other), outer: other.address4 }));
  await engine.setPeers({ peers, local: [subnetOf(lab, host)] });
  await host.ip(
    `address add ${addressOf(lab, host)}/32 dev flannel0`,
    `route add ${udpNetwork} dev flannel0`,
  );
  return engine;
}

export function openFlannelProxy(lab: Lab, host: Host): Promise<FlannelProxy> {
  return FlannelProxy.open(lab, host, {
    ...{ network: udpNetwork, base: addressOf(lab, host), port: udpPort, mtu: udpMtu },
    routes: othersOf(lab, host).map((other) => ({
      subnet: subnetOf(lab, other),
      publicIp: other.address4,
    })),
  });
}

/** TCP and UDP around every edge of the MTU, and pings up to many fragments. */
export async function exchangeAll(t: Test, lab: Lab, from: Host, to: Host): Promise<void> {
  const what = `${from.name} -> ${to.name}`;
  const address = addressOf(lab, to);
  const receiver = await PayloadReceiver.open(to, address);
  const segment = udpMtu - 40;
  const streams = [1, segment - 13, segment - 12, segment - 11, segment, segment + 1, 65_535, 4 << 20];
  const edge = udpMtu - 28;
  const datagrams = [1, 64, edge - 1, edge, edge + 1, 1472, 2 * edge, 9000, 65_400];
  t.same((await receiver.tcpFrom(from, streams)).faults, [], `${what}: TCP`);
  t.same((await receiver.udpFrom(from, datagrams)).faults, [], `${what}: UDP`);
  await receiver.close();
  for (const size of [0, 56, edge, edge + 1, 20_000]) {
    const { sent, received } = await ping(from, address, { count: 2, size, timeoutS: 3 });
    t.equal(received, sent, `${what}: ping of ${size}`);
  }
}

const fields = [
  ...['frame.number', 'frame.protocols', 'ip.src', 'udp.srcport', 'udp.dstport', 'udp.length', 'ip.len'],
  ...['ip.dsfield', 'ip.ttl'],
  ...checksumFields,
] as const;

export interface WireVerdict {
  readonly frames: number;
  readonly faults: readonly string[];
  /** What the outer headers of each sender look like, every kind once: ports, TOS, TTL. */
  readonly outer: ReadonlyMap<string, ReadonlySet<string>>;
}

/**
 * Judges a recording of interfaces that merge and segment nothing: is every datagram exactly one IPv4 packet, with a
 * TTL of one less than Linux gives it, and is every checksum good?
 */
export async function judgeUdpWire(capture: Capture): Promise<WireVerdict> {
  const rows = await capture.fields(`udp.port == ${udpPort}`, ...fields);
  const faults: string[] = [];
  const outer = new Map<string, Set<string>>();
  for (const row of rows) {
    const cell = (field: (typeof fields)[number]): readonly string[] => row[fields.indexOf(field)] ?? [];
    const fault = (text: string): unknown => faults.push(`frame ${cell('frame.number').join('')}: ${text}`);
    const protocols = cell('frame.protocols').join('');
    if (!protocols.startsWith('eth:ethertype:ip:udp:ip')) fault(protocols);
    const [length] = cell('udp.length');
    const [, inner] = cell('ip.len');
    if (Number(length) - 8 !== Number(inner)) fault(`${inner} bytes of IPv4 in a UDP length of ${length}`);
    if (cell('ip.ttl')[1] !== '63') fault(`inner TTL ${cell('ip.ttl')[1]}`);
    for (const kind of checksumKinds) if (isWrongChecksum(kind, cell)) fault(`bad ${kind} checksum`);
    const shape = [
      ...[cell('udp.srcport')[0], cell('udp.dstport')[0]],
      ...[cell('ip.dsfield')[0], cell('ip.ttl')[0]],
    ].join(' ');
    const sender = cell('ip.src')[0] ?? '';
    outer.set(sender, (outer.get(sender) ?? new Set()).add(shape));
  }
  return { frames: rows.length, faults, outer };
}
