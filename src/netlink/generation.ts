// The generation of nf_tables' rules in this network namespace: a number that is another after every change of any rule
// (linux/netfilter/nf_tables_api.c, nf_tables_getgen). One small message, so it may be asked for several times a second.
//
// It says nothing of legacy iptables, whose rules are not nf_tables'.

import { native } from '../native/loader.ts';
import { verdictOf } from './ack.ts';
import { NETLINK_NETFILTER, NFT_MSG, NFTA_GEN, NFNL_SUBSYS_NFTABLES } from './constants.ts';
import { attempt } from './refusal.ts';
import { Attributes, decodeMessages, encodeMessage } from './wire.ts';

/** struct nfgenmsg: family, version and a resource number, all zero here. */
const header = new Uint8Array(4);

export class RulesGeneration {
  readonly #fd: number;
  #closed = false;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** @throws KerseyError NETLINK, PERMISSION */
  static open(): RulesGeneration {
    return new RulesGeneration(
      attempt('open a netfilter socket', () => native().netlinkOpen(NETLINK_NETFILTER, 0)),
    );
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    native().netlinkClose(this.#fd);
  }

  /** undefined where the kernel has no nf_tables, or does not tell us. */
  read(): number | undefined {
    if (this.#closed) return undefined;
    const request = encodeMessage((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG.GETGEN, 0, header, []);
    try {
      for (const message of decodeMessages(native().netlinkRequest(this.#fd, request))) {
        if (verdictOf(message) !== undefined) continue;
        const id = new Attributes(message.payload.subarray(header.length)).bytes(NFTA_GEN.ID);
        // Netfilter's numbers are in network byte order.
        if (id?.length === 4) return new DataView(id.buffer, id.byteOffset, 4).getUint32(0);
      }
    } catch {
      // Whoever asks has a clock as well.
    }
    return undefined;
  }
}
