// Sends whole IP packets, given as lines of hex on standard input, each to its own destination address, in order.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { formatIp } from '../../src/net/ip.ts';

interface RawSocket {
  setOption(level: number, option: number, value: number): void;
  send(
    buffer: Buffer,
    offset: number,
    length: number,
    address: string,
    before: undefined,
    after: (error: Error | null) => void,
  ): void;
  close(): void;
}

interface RawModule {
  createSocket(options: { protocol: number; addressFamily: number }): RawSocket;
}

const raw = createRequire(import.meta.url)('raw-socket') as RawModule;

// linux/in.h, linux/in6.h
const [protocolRaw, ipLevel, ip6Level, headerIncluded, headerIncluded6] = [255, 0, 41, 3, 36];
const sockets = new Map<4 | 6, RawSocket>();

function socketOf(family: 4 | 6): RawSocket {
  const known = sockets.get(family);
  if (known !== undefined) return known;
  const socket = raw.createSocket({ protocol: protocolRaw, addressFamily: family === 4 ? 1 : 2 });
  if (family === 4) socket.setOption(ipLevel, headerIncluded, 1);
  else socket.setOption(ip6Level, headerIncluded6, 1);
  sockets.set(family, socket);
  return socket;
}

process.stdout.write('ready\n');
for await (const line of createInterface(process.stdin)) {
  const packet = Buffer.from(line, 'hex');
  const family = (packet[0] ?? 0) >> 4 === 6 ? 6 : 4;
  const destination = family === 4 ? packet.subarray(16, 20) : packet.subarray(24, 40);
  const address = formatIp(family, BigInt(`0x${destination.toString('hex')}`));
  await new Promise<void>((resolve, reject) => {
    socketOf(family).send(packet, 0, packet.length, address, undefined, (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}
for (const socket of sockets.values()) socket.close();
