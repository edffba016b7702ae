// The engine by itself, without a daemon around it, driven by lines of JSON: a first with its configuration, then
//
//   {"peers": {"peers": [...], "local": [...]}}   replaces the table
//   {"stats": true}                               asks for the counts
//
// Each is answered by one line: the counts, with the peers that had traffic, or {} when done. It ends with its input.

import { createInterface } from 'node:readline';
import { Engine, type EngineConfig, type PeerTable } from '../../src/engine/engine.ts';

type Request = { readonly peers: PeerTable } | { readonly stats: true };

function say(value: object): void {
  const plain = (_: string, part: unknown): unknown => (typeof part === 'bigint' ? Number(part) : part);
  process.stdout.write(`${JSON.stringify(value, plain)}\n`);
}

let engine: Engine | undefined;
for await (const line of createInterface(process.stdin)) {
  if (engine === undefined) {
    engine = Engine.open(JSON.parse(line) as EngineConfig);
    say({});
    continue;
  }
  const request = JSON.parse(line) as Request;
  if ('peers' in request) {
    engine.setPeers(request.peers);
    say({});
  } else {
    const stats = engine.stats();
    const peers = stats.peers.filter(({ txPackets, rxPackets }) => txPackets + rxPackets > 0n);
    say({ ...stats, peers, peerCount: stats.peers.length, state: engine.state().kind });
  }
}
engine?.close();
