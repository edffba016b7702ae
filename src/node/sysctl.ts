// Per-device kernel settings in /proc/sys/net. Wishes, not needs: a kernel without IPv6, or a read-only /proc, has none.

import { writeFileSync } from 'node:fs';

/**
 * Keeps IPv6 autoconfiguration off an overlay device: no router advertisements (as flannel sets it), and no link-local
 * address, which would have the kernel multicast into a network that has no multicast.
 */
export function quietDevice(device: string): void {
  write(`ipv6/conf/${device}/accept_ra`, '0');
  write(`ipv6/conf/${device}/addr_gen_mode`, '1');
}

/** Where new devices come up without IPv6, an IPv6 overlay's own device must have it. */
export function enableIpv6(device: string): void {
  write(`ipv6/conf/${device}/disable_ipv6`, '0');
}

function write(key: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/net/${key}`, value);
  } catch {
    // See above.
  }
}
