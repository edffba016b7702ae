// Random loss on the underlay of a bridged lab: nftables, in the bridge's namespace, drops some of the VXLAN packets
// that a host sends. What is lost is what the host's interface gave out: a whole superpacket where the interface takes
// superpackets, one packet of the wire where it cuts them first.

import { run } from '../../src/lab/command.ts';
import { Lab } from '../../src/lab/lab.ts';

export interface LossCount {
  /** VXLAN packets that came by. */
  readonly seen: number;
  /** Of these, larger than one packet of the wire. */
  readonly superpackets: number;
  readonly dropped: number;
}

interface Listing {
  readonly nftables: readonly {
    readonly rule?: { readonly expr: readonly { readonly counter?: { readonly packets: number } }[] };
  }[];
}

export class Loss {
  readonly #netns: string;

  private constructor(netns: string) {
    this.#netns = netns;
  }

  static async start(lab: Lab, percent: number, mtu = 1500): Promise<Loss> {
    const ports = lab.hosts.map((host) => host.name).join(', ');
    const loss = new Loss(lab.switchNetns);
    const udp = 'udp dport 8472';
    await loss.#nft(
      ['-f', '-'],
      `table netdev loss {
         chain in {
           type filter hook ingress devices = { ${ports} } priority 0;
           ${udp} counter
           ${udp} meta length > ${mtu + 14} counter
           ${udp} numgen random mod 100 < ${percent} counter drop
         }
       }`,
    );
    return loss;
  }

  async count(): Promise<LossCount> {
    const listing = JSON.parse(await this.#nft(['-j', 'list', 'table', 'netdev', 'loss'])) as Listing;
    const [seen = 0, superpackets = 0, dropped = 0] = listing.nftables.flatMap(
      ({ rule }) => rule?.expr.flatMap(({ counter }) => counter?.packets ?? []) ?? [],
    );
    return { seen, superpackets, dropped };
  }

  async #nft(args: readonly string[], input?: string): Promise<string> {
    const options = input === undefined ? {} : { input };
    return (await run(['ip', 'netns', 'exec', this.#netns, 'nft', ...args], options)).stdout;
  }
}

/** Why packets cannot be lost at will here, found by trying; undefined when they can. */
export async function lossMissing(): Promise<string | undefined> {
  const lab = await Lab.open({ hosts: ['h1'] });
  try {
    await Loss.start(lab, 1);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await lab.close();
  }
}
