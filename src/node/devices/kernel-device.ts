// What the drivers of the kernel's own tunnel devices have in common.

import { KerseyError } from '../../errors.ts';
import type { Netlink } from '../../netlink/client.ts';
import type { Link } from '../../netlink/link.ts';

/**
 * The device of that name when it is of the kind.
 * @throws KerseyError DEVICE_TAKEN when it is of another
 */
export function linkOf(
  netlink: Pick<Netlink, 'link'>,
  name: string,
  kind: 'vxlan' | 'ipip',
): Link | undefined {
  const link = netlink.link(name);
  if (link === undefined || (link.kind === kind && link.name === name)) return link;
  // The kernel finds devices by their alternative names too.
  const other = link.name === name ? '' : ` (${link.name})`;
  const found = link.kind ?? 'another';
  throw new KerseyError(
    'DEVICE_TAKEN',
    `a network device named ${name}${other} exists already, of the kind ${found} instead of ${kind}`,
    {
      remedy: `stop what made it, or remove it: ip link delete ${link.name}`,
    },
  );
}

export function deviceClosed(name: string): KerseyError {
  return new KerseyError('INTERNAL', `the driver of ${name} was used after it was closed`);
}
