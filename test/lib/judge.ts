// The verdict of tshark on a recording of the underlay: is every frame VXLAN as it should be?

import type { Capture } from './capture.ts';
import { checksumFields, checksumKinds, isWrongChecksum } from './checksum.ts';

export interface Verdict {
  readonly frames: number;
  /** What is wrong, each once, with the number of the first frame that shows it. */
  readonly faults: readonly string[];
}

const fields = [
  ...['frame.number', 'frame.protocols', 'vxlan.flags', 'vxlan.vni', 'vxlan.reserved8', '_ws.malformed'],
  ...['_ws.expert.severity', 'udp.checksum'],
  ...checksumFields,
] as const;

/** The gravest of four; the others remark on TCP's life. A wrong checksum is one of these. */
const expertError = 0x00800000;

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
  /** Flows may be offloaded: then TCP comes without an outer checksum over IPv4 (RFC 7348 5). */
  readonly offloaded?: boolean;
}

const offloadable = 'eth:ethertype:ip:udp:vxlan:eth:ethertype:ip:tcp';

export async function judge(capture: Capture, options: JudgeOptions): Promise<Verdict> {
  const { vni = 1, checksums, offloaded = false } = options;
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
    const unchecked = cell('udp.checksum')[0] === '0x0000';
    if (unchecked && !(offloaded && protocols.startsWith(offloadable))) fault('no outer UDP checksum');
    const messages = cell('_ws.expert.message');
    for (const [index, severity] of cell('_ws.expert.severity').entries()) {
      const message = messages[index] ?? '';
      if (guessed || Number(severity) !== expertError || (!checksums && /checksum/i.test(message))) continue;
      fault(message);
    }
    if (!checksums) continue;
    for (const kind of checksumKinds) {
      if (isWrongChecksum(kind, cell)) fault(`bad ${kind} checksum`);
    }
  }
  return { frames: rows.length, faults: [...faults.values()] };
}
