// Making a device that is no more than its kind and its name; whatever it needs beyond that it is told otherwise.

import { native } from '../native/loader.ts';
import { verdictOf } from './ack.ts';
import { IFLA, IFLA_INFO, NETLINK_ROUTE, NLM_F, RTM } from './constants.ts';
import { attempt, refusal } from './refusal.ts';
import { attribute, decodeMessages, encodeMessage } from './wire.ts';

const headerLength = 16;

export function encodeLinkCreate(name: string, kind: string): Uint8Array {
  return encodeMessage(RTM.NEWLINK, NLM_F.CREATE | NLM_F.EXCL, new Uint8Array(headerLength), [
    attribute.text(IFLA.IFNAME, name),
    attribute.bytes(IFLA.LINKINFO, attribute.text(IFLA_INFO.KIND, kind)),
  ]);
}

/** @throws KerseyError; errnoName(error.cause) is ENOTSUP where the kernel has no such devices */
export function createLink(name: string, kind: string): void {
  const what = `make the ${kind} device ${name}`;
  const fd = attempt('open a netlink socket', () => native().netlinkOpen(NETLINK_ROUTE, 0));
  try {
    const answer = attempt(what, () => native().netlinkRequest(fd, encodeLinkCreate(name, kind)));
    for (const message of decodeMessages(answer)) {
      const verdict = verdictOf(message);
      if (verdict !== undefined && verdict.errno !== 0) throw refusal(what, verdict);
    }
  } finally {
    native().netlinkClose(fd);
  }
}
