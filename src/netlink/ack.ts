// The kernel's verdict on a request: NLMSG_ERROR (errno 0 is consent), with the extended ack's own words (Linux 4.12).

import { NLM_F, NLMSG, NLMSGERR_ATTR } from './constants.ts';
import { Attributes, Fields, type Message } from './wire.ts';

export interface Verdict {
  /** 0, or the errno as a positive number. */
  readonly errno: number;
  /** What the kernel says in words. */
  readonly text: string | undefined;
}

/** The verdict that ends an answer; undefined for a message that is not its end. */
export function verdictOf(message: Message): Verdict | undefined {
  if (message.type !== NLMSG.ERROR && message.type !== NLMSG.DONE) return undefined;
  const { payload } = message;
  // Old kernels end a dump with a DONE that carries nothing.
  const errno = payload.length < 4 ? 0 : -new Fields(payload).i32(0);
  return { errno: errno === 0 ? 0 : errno, text: wordsOf(message) };
}

function wordsOf({ type, flags, payload }: Message): string | undefined {
  if ((flags & NLM_F.ACK_TLVS) === 0) return undefined;
  let at = 4;
  if (type === NLMSG.ERROR) {
    if (payload.length < 20) return undefined;
    // The request's header is echoed, and the rest of the request too unless capped.
    at += (flags & NLM_F.CAPPED) === 0 ? (new Fields(payload).u32(4) + 3) & ~3 : 16;
  }
  if (at > payload.length) return undefined;
  return new Attributes(payload.subarray(at)).text(NLMSGERR_ATTR.MSG);
}
