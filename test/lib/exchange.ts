// Everything that an engine host and a kernel vxlan host can exchange, with a recording of the wire.

import type { Test } from 'tap';
import { ping } from '../../src/lab/measure.ts';
import type { OffloadProfile } from '../../src/lab/offloads.ts';
import { Overlay, type Member } from '../../src/lab/overlay.ts';
import { PayloadReceiver } from '../../src/lab/payload.ts';
import { Capture, mark } from './capture.ts';
import { lossesOf, lossesSince } from './drops.ts';
import { judge } from './judge.ts';

export interface ExchangeOptions {
  readonly offloads?: readonly [engine: OffloadProfile, kernel: OffloadProfile];
  readonly disabled?: readonly string[];
  readonly sizes?: 'all' | 'few';
}

interface Sizes {
  readonly streams: readonly number[];
  readonly datagrams: readonly number[];
  readonly pings: readonly number[];
}

/** Around what fits one packet, what fits one outer packet, and what has to be cut several times. */
const allSizes: Sizes = {
  streams: [1, 2, 1377, 1378, 1379, 1397, 1398, 1399, 20_000, 65_535, 2 << 20],
  datagrams: [
    ...[1, 2, 63, 64, 1000, 1381, 1382, 1401, 1402, 1421, 1422, 1423, 1472, 1473, 2843, 9000],
    ...[40_000, 65_487],
  ],
  pings: [0, 1, 1402, 1403, 1422, 1423, 20_000, 65_487],
};

const fewSizes: Sizes = {
  streams: [1, 1398, 65_535, 2 << 20],
  datagrams: [1, 1422, 1423, 9000, 65_487],
  pings: [1403, 20_000],
};

export async function exchangeEverything(t: Test, options: ExchangeOptions): Promise<void> {
  const { offloads: [engineSide, kernelSide] = ['as is', 'as is'], disabled = [] } = options;
  const sizes = options.sizes === 'few' ? fewSizes : allSizes;
  const overlay = await Overlay.open({
    hosts: [
      {
        ...{ name: 'engine', dataplane: 'engine', offloads: engineSide },
        arguments: disabled.length === 0 ? [] : ['--disable', disabled.join(',')],
      },
      { name: 'kernel', dataplane: 'kernel', offloads: kernelSide },
    ],
    ...{ join: 'direct', dualStack: true },
    // Not the machine's own choice, which may pace; but where segments travel one by one, a stream that is not paced
    // overruns the kernel's own queue of received packets.
    ...(engineSide === 'as is' && kernelSide === 'as is' ? { congestion: 'reno' } : {}),
  });
  t.teardown(() => overlay.close());
  const [engine, kernel] = [overlay.member('engine'), overlay.member('kernel')];
  // One veth pair joins them, so either end sees all frames.
  const capture = await Capture.start(engine.host, engine.host.device, overlay.lab.directory);

  const before = [await lossesOf(engine), await lossesOf(kernel)] as const;

  for (const family of [4, 6] as const) {
    await exchange(t, `IPv${family}, engine -> kernel`, engine, kernel, family, sizes);
    await exchange(t, `IPv${family}, kernel -> engine`, kernel, engine, family, sizes);
  }

  const drops = [await lossesSince(engine, before[0]), await lossesSince(kernel, before[1])];
  t.same(drops.flat(), [], 'no drop without an explanation');
  const last = await mark(engine.host, kernel.host);
  await capture.stop(last);
  // A recording shows finished checksums only where neither end leaves them to the interface.
  const checksums = engineSide === 'all off' && kernelSide === 'all off';
  const { frames, faults } = await judge(capture, { checksums, offloaded: await isOffloading(engine) });
  t.same(faults, [], `tshark on ${frames} frames`);
  t.ok(frames > 300, 'and there were frames to judge');
}

async function isOffloading({ engine }: Member): Promise<boolean> {
  const features = (await engine?.status())?.overlays.flatMap((overlay) => overlay.features) ?? [];
  return features.some(({ name, on }) => name === 'flow-offload' && on);
}

async function exchange(
  t: Test,
  what: string,
  from: Member,
  to: Member,
  family: 4 | 6,
  sizes: Sizes,
): Promise<void> {
  const address = (family === 4 ? to.address4 : to.address6) ?? '';
  const receiver = await PayloadReceiver.open(to.host, address);
  t.same((await receiver.tcpFrom(from.host, sizes.streams)).faults, [], `${what}: TCP`);
  t.same((await receiver.udpFrom(from.host, sizes.datagrams)).faults, [], `${what}: UDP`);
  await receiver.close();
  for (const size of sizes.pings) {
    const { sent, received } = await ping(from.host, address, { count: 2, size, timeoutS: 3 });
    t.equal(received, sent, `${what}: ping of ${size}`);
  }
}
