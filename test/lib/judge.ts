// The verdict of tshark on a recording of the underlay: is every frame VXLAN as it should be?

import type { Capture } from './capture.ts';

export interface Verdict {
  readonly frames: number;
  /** What is wrong, each once, with the number of the first frame that shows it. */
  readonly faults: readonly string[];
}

const fields = [
  ...['frame.number', 'frame.protocols', 'vxlan.flags', 'vxlan.vni', 'vxlan.reserved8', '_ws.malformed'],
  ...['_ws.expert.severity', '_ws.expert.message'],
  ...['ip.checksum.status', 'udp.checksum.status', 'tcp.checksum.status', 'icmp.checksum.status'],
  ...['icmpv6.checksum.status', 'udp.checksum', 'tcp.checksum'],
] as const;

/** The gravest of four; the others remark on TCP's life. A wrong checksum is one of these. */
const expertError = 0x00800000;
const bad = '0';

/**
 * What the tests send. Random payload looks like some other protocol now and then, and what tshark then says of that
 * one means nothing.
 */
const ours = new Set(
  'eth ethertype ip ipv6 ipv6.fraghdr icmp icmpv6 icmpv6.echo udp tcp vxlan data'.split(' '),
);

export interface JudgeOptions {
  readonly vni?: number;
  /** False where an interface finishes the checksums after the recording is made (checksum offload). */
  readonly checksums: boolean;
}

export async function judge(capture: Capture, { vni = 1, checksums }: JudgeOptions): Promise<Verdict> {
  const rows = await capture.fields('udp.port == 8472', ...fields);
  const faults = new Map<string, string>();
  for (const row of rows) {
    const cell = (field: (typeof fields)[number]): readonly string[] => row[fields.indexOf(field)] ?? [];
    const fault = (text: string): void => {
      if (!faults.has(text)) faults.set(text, `frame ${cell('frame.number').join('')}: ${text}`);
    };
    const protocols = cell('frame.protocols').join('');
    if (!/:vxlan:eth:ethertype:ipv?6?/.test(protocols)) fault(`not IP in VXLAN: ${protocols}`);
    if (cell('vxlan.flags').join() !== '0x0800') fault(`VXLAN flags ${cell('vxlan.flags').join()}`);
    if (cell('vxlan.vni').join() !== String(vni)) fault(`VNI ${cell('vxlan.vni').join()}`);
    if (!['0', '0x00'].includes(cell('vxlan.reserved8').join())) fault('reserved byte');
    const guessed = protocols.split(':').some((protocol) => !ours.has(protocol));
    if (cell('_ws.malformed').length > 0 && !guessed) fault('malformed');
    if (cell('udp.checksum')[0] === '0x0000') fault('no outer UDP checksum');
    const messages = cell('_ws.expert.message');
    for (const [index, severity] of cell('_ws.expert.severity').entries()) {
      const message = messages[index] ?? '';
      if (guessed || Number(severity) !== expertError || (!checksums && /checksum/i.test(message))) continue;
      fault(message);
    }
    if (!checksums) continue;
    for (const kind of ['ip', 'udp', 'tcp', 'icmp', 'icmpv6'] as const) {
      if (!cell(`${kind}.checksum.status`).includes(bad)) continue;
      // For 0xffff, tshark says "should be 0x0000 (see RFC 1624)", which is the same number in one's complement and what
      // Linux itself writes (skb_checksum_help, CSUM_MANGLED_0), once in 65,536. A wrong one is an expert error besides.
      if (kind === 'tcp' && cell('tcp.checksum').every((value) => value === '0xffff')) continue;
      fault(`bad ${kind} checksum`);
    }
  }
  return { frames: rows.length, faults: [...faults.values()] };
}
