// What tshark says of checksums.

/** What `isWrongChecksum` asks for. */
export const checksumFields = [
  ...['ip.checksum.status', 'udp.checksum.status', 'tcp.checksum.status', 'icmp.checksum.status'],
  ...['icmpv6.checksum.status', '_ws.expert.message'],
] as const;

export const checksumKinds = ['ip', 'udp', 'tcp', 'icmp', 'icmpv6'] as const;

const bad = '0';

/**
 * Of one frame with one TCP header at most. tshark calls 0xffff bad in TCP and says "instead of 0x0000 (see RFC 1624)". It
 * is the same number in one's complement, and what Linux itself writes (skb_checksum_help, CSUM_MANGLED_0), once in 65,536.
 */
export function isWrongChecksum(
  kind: (typeof checksumKinds)[number],
  cell: (field: (typeof checksumFields)[number]) => readonly string[],
): boolean {
  if (!cell(`${kind}.checksum.status`).includes(bad)) return false;
  return kind !== 'tcp' || !cell('_ws.expert.message').some((message) => message.includes('(see RFC 1624)'));
}
