// The generation of nf_tables' rules in this network namespace: a number that is another after every change of any rule
// (linux/netfilter/nf_tables_api.c, nf_tables_getgen). One small message.
//
// Of a change the kernel tells by messages to those that ask for them (nfnetlink's group NFNLGRP_NFTABLES). What they say
// is not looked at, only that there are some: whoever is told reads the generation, when it suits, and is told again of
// changes after that.
//
// It says nothing of legacy iptables, whose rules are not nf_tables'.

import { native } from '../native/loader.ts';
import { verdictOf } from './ack.ts';
import {
  NETLINK_NETFILTER,
  NFNL_GROUP_NFTABLES,
  NFT_MSG,
  NFTA_GEN,
  NFNL_SUBSYS_NFTABLES,
} from './constants.ts';
import { attempt } from './refusal.ts';
import { SocketWatch } from './socket-watch.ts';
import { Attributes, decodeMessages, encodeMessage } from './wire.ts';

/** Datagrams; more than the socket's buffer holds of small ones. */
const mostDiscarded = 4096;

/** struct nfgenmsg: family, version and a resource number, all zero here. */
const header = new Uint8Array(4);

export class RulesGeneration {
  readonly #fd: number;
  readonly #news: News | undefined;
  #closed = false;

  private constructor(fd: number, news: News | undefined) {
    this.#fd = fd;
    this.#news = news;
  }

  /**
   * @param onChange called when a rule was changed, from the event loop, and then not again before read()
   * @throws KerseyError NETLINK, PERMISSION
   */
  static open(onChange?: () => void): RulesGeneration {
    const fd = attempt('open a netfilter socket', () => native().netlinkOpen(NETLINK_NETFILTER, 0));
    return new RulesGeneration(fd, onChange === undefined ? undefined : News.open(onChange));
  }

  /** Whether onChange is called: the kernel may refuse to tell of changes. */
  get told(): boolean {
    return this.#news !== undefined;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#news?.close();
    native().netlinkClose(this.#fd);
  }

  /** undefined where the kernel has no nf_tables, or does not tell us. */
  read(): number | undefined {
    if (this.#closed) return undefined;
    // First: a change after this is told of, and one before it is in the number.
    this.#news?.discard();
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

/** A socket that fills when rules change. */
class News {
  readonly #fd: number;
  readonly #watch: SocketWatch;

  private constructor(fd: number, watch: SocketWatch) {
    this.#fd = fd;
    this.#watch = watch;
  }

  /** undefined where it is not to be had: whoever asks has a clock as well. */
  static open(onChange: () => void): News | undefined {
    let fd: number | undefined;
    try {
      fd = native().netlinkOpen(NETLINK_NETFILTER, NFNL_GROUP_NFTABLES);
      return new News(fd, new SocketWatch(fd, onChange));
    } catch {
      if (fd !== undefined) native().netlinkClose(fd);
      return undefined;
    }
  }

  /** Throws away what waits. Should some be left, somebody is told of it once more for nothing. */
  discard(): void {
    try {
      for (let i = 0; i < mostDiscarded; i++) if (native().netlinkReceive(this.#fd) === undefined) break;
    } catch {
      // ENOBUFS: they were too many for the buffer. What is left in it makes one more call.
    }
    this.#watch.arm();
  }

  close(): void {
    this.#watch.close();
    native().netlinkClose(this.#fd);
  }
}
