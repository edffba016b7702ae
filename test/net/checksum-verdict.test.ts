// What the verdicts on recordings make of TCP checksums of 0xffff: right and wrong ones.

import t from 'tap';
import { Lab } from '../../src/lab/lab.ts';
import { Capture, mark } from '../lib/capture.ts';
import { ipPacket, sum16, udpPacket, vxlanFrame } from '../lib/frames.ts';
import { judge } from '../lib/judge.ts';
import { RawSender } from '../lib/raw.ts';
import { skipUnlessInstalled, skipUnlessRoot } from '../lib/requirements.ts';
import { Sink } from '../lib/sink.ts';
import { judgeUdpWire } from '../lib/udp-wire.ts';

const skip = skipUnlessRoot() || skipUnlessInstalled('ip', 'ping', 'tcpdump', 'tshark');

const [from, to] = ['10.5.1.0', '10.5.2.0'];

/** A segment whose checksum is 0xffff where 0 would have been computed, and that is changed after that, or not. */
function segment(text: string, changed: boolean): Buffer {
  const tcp = Buffer.concat([Buffer.alloc(22), Buffer.from(text)]);
  tcp.writeUInt16BE(1000, 0);
  tcp.writeUInt16BE(2000, 2);
  tcp.set([0x50, 0x10, 1, 0], 12); // header length, ACK, window
  const pseudo = Buffer.from([10, 5, 1, 0, 10, 5, 2, 0, 0, 6, 0, tcp.length]);
  tcp.writeUInt16BE(0xffff - sum16(pseudo, tcp), 20);
  tcp.writeUInt16BE(0xffff, 16);
  if (changed) tcp.writeUInt16BE(1, 18); // the urgent pointer
  return ipPacket(6, { from, to, ttl: 63 }, tcp);
}

t.test('0xffff is wrong where it is wrong', { skip }, async (t) => {
  const lab = await Lab.open({ hosts: ['one', 'two'], join: 'direct' });
  t.teardown(() => lab.close());
  const [one, two] = [lab.host('one'), lab.host('two')];
  const raw = await RawSender.open(one);
  // Somebody listens, so that nobody complains.
  for (const port of [8285, 8472]) await Sink.open(two, two.address4, port);
  const outer = { from: one.address4, to: two.address4, fromPort: 40_000 };
  const macs = { toMac: '02:00:00:00:00:02', fromMac: '02:00:00:00:00:01' };
  for (const changed of [false, true]) {
    const faults = changed ? [/bad tcp checksum/] : [];
    const [bare, framed] = [`bare ${changed}.`, `framed ${changed}.`];
    const capture = await Capture.start(one, one.device, lab.directory);
    raw.send([
      udpPacket({ ...outer, toPort: 8285, payload: segment(bare, changed) }),
      udpPacket({
        ...{ ...outer, toPort: 8472 },
        payload: vxlanFrame({ inner: segment(framed, changed), ...macs }),
      }),
    ]);
    await capture.seen(framed);
    await capture.stop(await mark(one, two));
    for (const [what, verdict] of [
      [bare, await judgeUdpWire(capture)],
      [framed, await judge(capture, { checksums: true })],
    ] as const) {
      t.equal(verdict.frames, 1, what);
      t.match(
        verdict.faults.filter((fault) => !fault.includes('Bad checksum')),
        faults,
        what,
      );
      t.equal(verdict.faults.length === 0, !changed, what);
    }
  }
});
