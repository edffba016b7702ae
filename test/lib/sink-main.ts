// Prints every datagram that arrives at an address and port, as a line of hex.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';

const [address = '', port = ''] = process.argv.slice(2);
const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 4 << 20 });
socket.on('message', (message) => {
  process.stdout.write(`${message.toString('hex')}\n`);
});
socket.bind(Number(port), address);
await once(socket, 'listening');
process.stdout.write('ready\n');
