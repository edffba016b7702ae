// Whether this kernel has vxlan and ipip devices, found by making one and setting it up. A version number is no probe.
//
// The device has a random name and is gone before the answer is given. It leads nowhere, so it sends nothing. That of
// vxlan has a VNI and a UDP port that nobody uses, so that a running flannel.1 does not notice; that of ipip has an
// address of 127.0.0.0/8 as its own. Making one may have the kernel load its module.

import { randomBytes, randomInt } from 'node:crypto';

import { errnoName, KerseyError } from '../../errors.ts';
import type { Family } from '../../net/ip.ts';
import type { Netlink } from '../../netlink/client.ts';
import type { LinkCreate } from '../../netlink/link.ts';
import { kernelWords } from '../../netlink/refusal.ts';

export type ProbeNetlink = Pick<Netlink, 'createLink' | 'setLink' | 'deleteLink'>;

/** Ports above those that Linux hands out by itself (net.ipv4.ip_local_port_range), and how many are tried. */
const ports = { first: 61_000, end: 65_536, tries: 8 };

/** @returns why not, in words: `Unknown device type (EOPNOTSUPP)`; undefined when it can */
export function probeKernelVxlan(netlink: ProbeNetlink, family: Family = 4): string | undefined {
  for (let left = ports.tries; ; left--) {
    const refused = tryOut(netlink, {
      kind: 'vxlan',
      vni: randomInt(0xff0000, 0x1000000),
      port: randomInt(ports.first, ports.end),
      local: family === 4 ? '127.0.0.1' : '::1',
    });
    if (refused === undefined) return undefined;
    const taken = ['EADDRINUSE', 'EEXIST'].includes(errnoName(refused.cause) ?? '');
    if (!taken || left === 1) return kernelWords(refused);
  }
}

/** As probeKernelVxlan. */
export function probeIpip(netlink: ProbeNetlink): string | undefined {
  const host = (): number => randomInt(1, 255);
  const refused = tryOut(netlink, { kind: 'ipip', local: `127.${host()}.${host()}.${host()}` });
  return refused === undefined ? undefined : kernelWords(refused);
}

function tryOut(netlink: ProbeNetlink, tunnel: LinkCreate['tunnel']): KerseyError | undefined {
  try {
    const link = netlink.createLink({ name: `ky${randomBytes(5).toString('hex')}`, mtu: 1280, tunnel });
    try {
      netlink.setLink(link, { up: true });
    } finally {
      netlink.deleteLink(link);
    }
    return undefined;
  } catch (error) {
    return KerseyError.from(error);
  }
}
