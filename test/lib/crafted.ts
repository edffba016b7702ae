// One overlay for frames made by hand: an engine, a kernel vxlan host, and a host that has a lease and raw sockets.

import type { Test } from 'tap';
import { Overlay, type Member } from '../../src/lab/overlay.ts';
import { udpPacket, vxlanFrame, type UdpPacket, type VxlanFrame } from './frames.ts';
import { RawSender } from './raw.ts';
import { Sink } from './sink.ts';

/** A frame to a target; what is not given makes it a good one. */
export interface Frame {
  /** The payload, by which it is recognised at the other end. */
  readonly id: string;
  readonly outer?: Partial<UdpPacket>;
  readonly inner?: Partial<UdpPacket>;
  readonly vxlan?: Partial<VxlanFrame>;
  /** Changes the finished inner packet. */
  readonly mangleInner?: (inner: Buffer) => Buffer;
  /** Changes the finished VXLAN frame. */
  readonly mangleFrame?: (frame: Buffer) => Buffer;
}

export interface Outcome {
  /** Ids of the frames that reached a socket on the target. */
  readonly arrived: readonly string[];
  /** What the engine dropped meanwhile; empty on the kernel. */
  readonly drops: Readonly<Record<string, number>>;
}

const sinkPort = 7777;

export class Crafted {
  readonly overlay: Overlay;
  #marker = 0;
  #raw: RawSender | undefined;
  readonly #sinks = new Map<string, Sink>();
  readonly #drops = new Map<string, Readonly<Record<string, number>>>();

  private constructor(overlay: Overlay) {
    this.overlay = overlay;
  }

  static async open(t: Test, engineArguments: readonly string[] = []): Promise<Crafted> {
    const overlay = await Overlay.open({
      hosts: [
        { name: 'engine', dataplane: 'engine', arguments: engineArguments },
        { name: 'kernel', dataplane: 'kernel' },
        { name: 'craft', dataplane: 'none' },
      ],
      dualStack: true,
    });
    t.teardown(() => overlay.close());
    return new Crafted(overlay);
  }

  get sender(): Member {
    return this.overlay.member('craft');
  }

  /** Sends the frames to a target and tells what became of them; a good one comes last, to know when all are through. */
  async send(targetName: 'engine' | 'kernel', family: 4 | 6, frames: readonly Frame[]): Promise<Outcome> {
    const target = this.overlay.member(targetName);
    const sink = await this.#sink(target, family);
    this.#marker += 1;
    const marker = `marker ${this.#marker}`;
    const key = `${targetName} ${family}`;
    const before = this.#drops.get(key) ?? (await dropsOf(target, family));
    const packets = [...frames, { id: marker }].map((frame) => this.build(target, family, frame));
    this.#raw ??= await RawSender.open(this.sender.host);
    this.#raw.send(packets);
    await sink.awaitPayload(marker);
    const after = await dropsOf(target, family);
    this.#drops.set(key, after);
    const drops = Object.entries(after)
      .map(([reason, count]) => [reason, count - (before[reason] ?? 0)] as const)
      .filter(([reason, count]) => count > 0 && reason !== 'tx_multicast');
    const ids = new Set(frames.map((frame) => frame.id));
    return { arrived: sink.received.filter((id) => ids.has(id)), drops: Object.fromEntries(drops) };
  }

  /** The whole outer packet. */
  build(target: Member, family: 4 | 6, frame: Frame): Buffer {
    const [own, other] = [this.sender, target].map((member) => ({
      outer: family === 4 ? member.host.address4 : member.host.address6,
      inner: (family === 4 ? member.address4 : member.address6) ?? '',
      mac: (family === 4 ? member.lease4 : member.lease6)?.mac ?? '',
    }));
    if (own === undefined || other === undefined) throw new RangeError('two ends');
    const inner = udpPacket({
      ...{ from: own.inner, to: other.inner, fromPort: 5000, toPort: sinkPort },
      payload: Buffer.from(frame.id),
      ...frame.inner,
    });
    const whole = vxlanFrame({
      inner: frame.mangleInner?.(inner) ?? inner,
      ...{ toMac: other.mac, fromMac: own.mac },
      ...frame.vxlan,
    });
    return udpPacket({
      ...{ from: own.outer, to: other.outer, fromPort: 40_000, toPort: 8472 },
      payload: frame.mangleFrame?.(whole) ?? whole,
      ...frame.outer,
    });
  }

  async #sink(target: Member, family: 4 | 6): Promise<Sink> {
    const address = (family === 4 ? target.address4 : target.address6) ?? '';
    const known = this.#sinks.get(address);
    if (known !== undefined) return known;
    const sink = await Sink.open(target.host, address, sinkPort);
    this.#sinks.set(address, sink);
    return sink;
  }
}

async function dropsOf({ engine }: Member, family: 4 | 6): Promise<Readonly<Record<string, number>>> {
  const status = await engine?.status();
  return status?.overlays.find((overlay) => overlay.family === family)?.drops ?? {};
}
