// A table as large as there can be: 65,536 peers with prefixes of many lengths, IPv4 and IPv6, one inside the other.
// Every packet goes to the peer that a scan over all of them names, or to none where it names none.

import t, { type Test } from 'tap';
import type { EnginePeer } from '../../src/engine/engine.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { PayloadReceiver } from '../../src/lab/payload.ts';
import { formatIp } from '../../src/net/ip.ts';
import { EngineProcess, type EngineCounts } from '../lib/engine-process.ts';
import { udpPacket } from '../lib/frames.ts';
import { RawSender } from '../lib/raw.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';
import { Sink } from '../lib/sink.ts';

const skip = skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('ip');

const peerCount = 65_536;
const packetCount = 300;
const sinkPort = 7777;
const own = { 4: '10.255.1.0', 6: 'fd05:ffff:1::' } as const;
const macs = ['02:00:00:00:00:01', '02:00:00:00:00:02'] as const;

/** A prefix by its first 32 (IPv4) or 64 (IPv6) bits. */
interface Prefix {
  readonly family: 4 | 6;
  readonly base: bigint;
  readonly length: number;
  readonly outer: string;
}

interface Destination {
  readonly family: 4 | 6;
  readonly bits: bigint;
}

const width = (family: 4 | 6): number => (family === 4 ? 32 : 64);
const text = (family: 4 | 6, bits: bigint): string => formatIp(family, family === 4 ? bits : bits << 64n);

/** Reproducible: mulberry32, public domain. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return Math.floor((((z ^ (z >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** Anywhere in 10.0.0.0/9 or fd05::/17. */
function someBits(family: 4 | 6, below: (n: number) => number): bigint {
  if (family === 4) return (10n << 24n) | BigInt(below(2 ** 23));
  return (0xfd05n << 48n) | (BigInt(below(2 ** 15)) << 32n) | BigInt(below(2 ** 32));
}

/** A few short prefixes, many long ones: most addresses lie in several, some in none. */
function makePrefixes(seed: number, outers: readonly string[]): readonly Prefix[] {
  const below = random(seed);
  const prefixes = new Map<string, Prefix>();
  while (prefixes.size < peerCount) {
    const family = below(3) === 0 ? 6 : 4;
    const n = prefixes.size;
    const short = n < 60 ? 16 : n < 200 ? 18 : n < 1500 ? 20 : 22 + below(11);
    const length = family === 4 ? short : 2 * short - below(2);
    const host = BigInt(width(family) - length);
    const base = (someBits(family, below) >> host) << host;
    const outer = outers[below(outers.length)] ?? '';
    prefixes.set(`${text(family, base)}/${length}`, { family, base, length, outer });
  }
  return [...prefixes.values()];
}

/** The longest prefix that holds it, by looking at all. */
function holder(prefixes: readonly Prefix[], { family, bits }: Destination): Prefix | undefined {
  let best: Prefix | undefined;
  for (const prefix of prefixes) {
    if (prefix.family !== family || prefix.length <= (best?.length ?? -1)) continue;
    const host = BigInt(width(family) - prefix.length);
    if (bits >> host === prefix.base >> host) best = prefix;
  }
  return best;
}

function makeDestinations(seed: number, prefixes: readonly Prefix[]): readonly Destination[] {
  const below = random(seed);
  return Array.from({ length: packetCount }, (_, index) => {
    const family = index % 3 === 0 ? 6 : 4;
    if (index % 4 === 0) return { family, bits: someBits(family, below) };
    const near = prefixes[below(prefixes.length)] ?? { family: 4, base: 10n << 24n, length: 32 };
    const host = BigInt(below(2 ** Math.min(20, width(near.family) - near.length)));
    return { family: near.family, bits: near.base | host };
  });
}

const asPeer = ({ family, base, length, outer }: Prefix): EnginePeer => ({
  ...{ prefix: `${text(family, base)}/${length}`, outer, vtepMac: macs[1] },
});

async function startHost(host: Host, mac: string, local: string): Promise<EngineProcess> {
  return EngineProcess.open(host, { device: 'overlay', vni: 1, port: 8472, local, vtepMac: mac, mtu: 1450 });
}

t.test('65,536 peers of many prefix lengths', { skip, timeout: 120_000 }, async (t) => {
  const lab = await Lab.open({ hosts: ['h1', 'h2'], join: 'direct' });
  t.teardown(() => lab.close());
  const [h1, h2] = [lab.host('h1'), lab.host('h2')];
  const [one, two] = await Promise.all([
    startHost(h1, macs[0], h1.address4),
    startHost(h2, macs[1], h2.address4),
  ]);
  // The peers that are not h2's engine are addresses of h2 too, so that frames to them leave.
  const outers = [h2.address4, ...Array.from({ length: 7 }, (_, i) => `192.168.78.${10 + i}`)];
  await h2.ip(
    ...outers.slice(1).map((outer) => `address add ${outer}/32 dev ${h2.device}`),
    ...['route add local 10.0.0.0/9 dev lo', 'route add 10.255.0.0/16 dev overlay'],
    ...['route add local fd05::/17 dev lo', 'route add fd05:ffff::/32 dev overlay'],
  );
  await h1.ip(
    ...[`address add ${own[4]}/32 dev overlay`, `address add ${own[6]}/128 dev overlay nodad`],
    ...outers.slice(1).map((outer) => `route add ${outer}/32 dev ${h1.device}`),
    ...['route add 10.0.0.0/8 dev overlay', 'route add fd05::/16 dev overlay'],
  );
  await two.setPeers({
    peers: [`${own[4]}/24`, `${own[6]}/64`].map((prefix) => ({
      ...{ prefix, outer: h1.address4, vtepMac: macs[0] },
    })),
    local: ['10.0.0.0/9', 'fd05::/17'],
  });
  const sink = await Sink.open(h2, '::', sinkPort);
  const sender = await RawSender.open(h1);

  for (const seed of [1, 2]) {
    await tryTable(t, one, sink, sender, makePrefixes(seed, outers), seed);
  }

  const last = makePrefixes(2, outers);
  const near = last.find(
    ({ family, base, length, outer }) =>
      family === 4 &&
      length === 32 &&
      outer === h2.address4 &&
      holder(last, { family, bits: base })?.base === base,
  );
  const receiver = await PayloadReceiver.open(h2, text(4, near?.base ?? 0n));
  t.same((await receiver.tcpFrom(h1, [1, 1 << 20, 8 << 20])).faults, [], 'TCP to one of them');
  t.same(await two.drops(), {}, 'the other side took all of it');
  await Promise.all([one.close(), two.close()]);
});

async function tryTable(
  t: Test,
  one: EngineProcess,
  sink: Sink,
  sender: RawSender,
  prefixes: readonly Prefix[],
  seed: number,
): Promise<void> {
  await one.setPeers({ peers: prefixes.map(asPeer), local: [`${own[4]}/24`, `${own[6]}/64`] });
  const before = await one.counts();
  t.equal(before.peerCount, peerCount, 'they are all there');

  const destinations = makeDestinations(seed + 100, prefixes);
  const expected = new Map<string, number>();
  const arriving: string[] = [];
  let nowhere = 0;
  for (const [index, destination] of destinations.entries()) {
    const prefix = holder(prefixes, destination);
    if (prefix === undefined) nowhere += 1;
    else {
      const name = asPeer(prefix).prefix;
      expected.set(name, (expected.get(name) ?? 0) + 1);
      if (prefix.outer === '192.168.78.2') arriving.push(payloadOf(seed, index));
    }
  }
  t.ok(nowhere > 10 && expected.size > 150 && arriving.length > 20, 'all kinds of destinations');
  sender.send(
    destinations.map(({ family, bits }, index) =>
      udpPacket({
        ...{ from: own[family], to: text(family, bits), fromPort: 5000, toPort: sinkPort },
        payload: Buffer.from(payloadOf(seed, index)),
      }),
    ),
  );
  const after = await awaitCondition('all packets to be sent or refused', async () => {
    const counts = await one.counts();
    return handled(counts) - handled(before) >= packetCount && counts;
  });
  // A prefix that was in the table before keeps its counts.
  const counted = new Map(before.peers.map(({ prefix, txPackets }) => [prefix, txPackets]));
  const sent = after.peers
    .map(({ prefix, txPackets }) => [prefix, (txPackets ?? 0) - (counted.get(prefix) ?? 0)] as const)
    .filter(([, count]) => count > 0);
  t.same(
    Object.fromEntries(sent),
    Object.fromEntries(expected),
    'each packet went to the peer that the scan names',
  );
  t.equal(noPeer(after) - noPeer(before), nowhere, 'and those that none holds were refused');
  await awaitCondition('what h2 gets', () => arriving.every((payload) => sink.received.includes(payload)));
  const got = sink.received.filter((payload) => payload.startsWith(`${seed} `));
  t.same([...got].sort(), [...arriving].sort(), `h2 got its ${arriving.length} packets and no other`);
}

const payloadOf = (seed: number, index: number): string => `${seed} ${index}`;
const noPeer = ({ drops }: EngineCounts): number => drops['tx_no_peer'] ?? 0;
const handled = (counts: EngineCounts): number => noPeer(counts) + (counts.counters['tx_packets'] ?? 0);
