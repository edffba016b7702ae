// Sending packets made by hand from a host, through raw sockets: the whole IP header is ours.

import type { Host } from '../../src/lab/host.ts';
import { testProgram } from './program.ts';

export async function sendPackets(host: Host, packets: readonly Buffer[]): Promise<void> {
  const input = packets.map((packet) => packet.toString('hex')).join('\n');
  await host.exec(testProgram('raw-sender'), { input });
}
