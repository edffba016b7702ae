// The program behind payload.ts: sends or receives pseudo-random payloads and says what it saw, as lines of JSON.
//
//   receive ADDRESS                    listens on a TCP and a UDP port: {"tcp":P,"udp":P}, then {"size":N,"sha256":H} for
//                                      every payload that came whole over TCP, and returns every datagram it gets
//   tcp ADDRESS PORT SEED SIZE...      sends one payload per size over one connection: {"size":N,"sha256":H} each
//   streams ADDRESS PORT SEED SIZE...  the same, but over one connection for each size, all at once
//   udp ADDRESS PORT SEED SIZE...      sends one datagram per size, waits for its return: {"size":N,"state":S} each,
//                                      S being "same", "different" or "lost"
//
// On the TCP stream a payload is its length in 8 bytes, then its bytes.

import { createCipheriv, createHash, type Hash } from 'node:crypto';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

const chunkSize = 256 * 1024;

/** Bytes that look random and depend on the seed and the size alone. */
function* payload(seed: number, size: number): Generator<Buffer> {
  const key = Buffer.alloc(16);
  key.writeUInt32BE(seed, 0);
  key.writeUInt32BE(size, 4);
  const stream = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  for (let left = size; left > 0; left -= chunkSize) {
    yield stream.update(Buffer.alloc(Math.min(left, chunkSize)));
  }
}

function say(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

async function receive(address: string): Promise<void> {
  const server = createServer((socket) => {
    receiveStream(socket);
  });
  server.listen(0, address);
  const udp = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 4 << 20 });
  udp.on('message', (message, from) => {
    udp.send(message, from.port, from.address);
  });
  udp.bind(0, address);
  await Promise.all([once(server, 'listening'), once(udp, 'listening')]);
  const bound = server.address();
  say({ tcp: bound === null || typeof bound === 'string' ? 0 : bound.port, udp: udp.address().port });
}

function receiveStream(socket: Socket): void {
  let header = Buffer.alloc(0);
  let hash: Hash | undefined;
  let size = 0;
  let left = 0;
  const finish = (): void => {
    if (hash === undefined || left > 0) return;
    say({ size, sha256: hash.digest('hex') });
    hash = undefined;
  };
  socket.on('data', (received: Buffer) => {
    let data = received;
    while (data.length > 0) {
      if (hash === undefined) {
        const missing = 8 - header.length;
        header = Buffer.concat([header, data.subarray(0, missing)]);
        data = data.subarray(missing);
        if (header.length < 8) return;
        left = size = Number(header.readBigUInt64BE());
        header = Buffer.alloc(0);
        hash = createHash('sha256');
      }
      const part = data.subarray(0, left);
      hash.update(part);
      left -= part.length;
      data = data.subarray(part.length);
      finish();
    }
  });
  socket.on('error', (error) => {
    say({ error: error.message });
  });
}

async function sendTcp(address: string, port: number, seed: number, sizes: readonly number[]): Promise<void> {
  const socket = connect(port, address);
  await once(socket, 'connect');
  const write = async (bytes: Buffer): Promise<void> => {
    if (!socket.write(bytes)) await once(socket, 'drain');
  };
  for (const size of sizes) {
    const header = Buffer.alloc(8);
    header.writeBigUInt64BE(BigInt(size));
    await write(header);
    const hash = createHash('sha256');
    for (const part of payload(seed, size)) {
      hash.update(part);
      await write(part);
    }
    say({ size, sha256: hash.digest('hex') });
  }
  socket.end();
  await once(socket, 'close');
}

async function sendStreams(
  address: string,
  port: number,
  seed: number,
  sizes: readonly number[],
): Promise<void> {
  await Promise.all(sizes.map((size, index) => sendTcp(address, port, seed + index, [size])));
}

async function sendUdp(address: string, port: number, seed: number, sizes: readonly number[]): Promise<void> {
  const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 4 << 20 });
  for (const size of sizes) {
    const sent = Buffer.concat([...payload(seed, size)]);
    const answer = await exchange(socket, address, port, sent);
    const state = answer === undefined ? 'lost' : answer.equals(sent) ? 'same' : 'different';
    say({ size, state });
  }
  socket.close();
}

/** One datagram there and back. A loss is an answer of its own: nothing is sent twice. */
function exchange(
  socket: UdpSocket,
  address: string,
  port: number,
  message: Buffer,
): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const done = (answer: Buffer | undefined): void => {
      clearTimeout(timer);
      socket.off('message', done);
      resolve(answer);
    };
    const timer = setTimeout(done, 2000, undefined);
    socket.on('message', done);
    socket.send(message, port, address, (error) => {
      if (error !== null) reject(error);
    });
  });
}

const [mode, address = '', port = '', seed = '', ...sizes] = process.argv.slice(2);
const numbers = sizes.map(Number);
if (mode === 'receive') await receive(address);
else if (mode === 'tcp') await sendTcp(address, Number(port), Number(seed), numbers);
else if (mode === 'streams') await sendStreams(address, Number(port), Number(seed), numbers);
else await sendUdp(address, Number(port), Number(seed), numbers);
