// `kersey demo`: hosts as network namespaces, joined by VXLAN, in front of your eyes.
//
// Two hosts run `kersey up`, the program you would run; where the kernel has vxlan, a third is set up on it exactly as
// flannel does, to show that nobody can tell the difference. They meet in one store file. Every host then pings every
// other, sends it pseudo-random bytes that are compared by digest, and measures throughput. Everything is made inside
// namespaces and removed at the end, also when interrupted.

import { accessSync, constants } from 'node:fs';
import Table from 'cli-table3';
import { KerseyError } from '../errors.ts';
import { run, toolMissing } from '../lab/command.ts';
import { probeKernelVxlan } from '../lab/kernel-vxlan.ts';
import { Lab } from '../lab/lab.ts';
import { Iperf, ping, type Ping } from '../lab/measure.ts';
import { Overlay, type Dataplane, type Member, type OverlayHost } from '../lab/overlay.ts';
import { PayloadReceiver, type PayloadReport } from '../lab/payload.ts';
import { withSignals } from './interrupt.ts';
import { Progress } from './progress.ts';

export interface DemoOptions {
  readonly output: 'text' | 'json';
}

export interface DemoResult {
  /** Why no host runs on kernel vxlan; undefined when one does. */
  readonly kernelVxlanMissing: string | undefined;
  readonly directions: readonly Direction[];
  /** What the engines dropped meanwhile, by reason. */
  readonly drops: Readonly<Record<string, number>>;
}

/** What was seen from one host towards another. */
export interface Direction {
  readonly from: string;
  readonly to: string;
  readonly dataplanes: readonly [Dataplane, Dataplane];
  readonly ping: Ping;
  readonly payload: PayloadReport;
  readonly gigabitsPerSecond: number;
}

const seconds = 2;

export async function demo(options: DemoOptions): Promise<void> {
  const progress = new Progress();
  const result = await withSignals((signal) => show(progress, signal));
  process.stdout.write(options.output === 'json' ? `${JSON.stringify(result, null, 2)}\n` : text(result));
  const faults = result.directions.flatMap(faultsOf);
  if (faults.length > 0) {
    const dropped = Object.entries(result.drops).map(([reason, count]) => `${reason} ${count}`);
    const drops =
      dropped.length === 0 ? 'the engines dropped nothing' : `engine drops: ${dropped.join(', ')}`;
    throw new KerseyError(
      'COMMAND_FAILED',
      `not every pair of hosts is well: ${faults.join('; ')}; ${drops}`,
      {
        remedy: 'report this with the lines above',
      },
    );
  }
}

async function show(progress: Progress, signal: AbortSignal): Promise<DemoResult> {
  await preflight();
  const missing = await progress.step(
    'looking for the vxlan module of this kernel',
    () => probe(signal),
    (reason) => (reason === undefined ? ': here' : `: missing (${reason})`),
  );
  const hosts: OverlayHost[] = [
    { name: 'h1', dataplane: 'engine' },
    { name: 'h2', dataplane: 'engine' },
  ];
  if (missing === undefined) hosts.push({ name: 'h3', dataplane: 'kernel' });
  else progress.note(`no third host on kernel vxlan: ${missing}; the engine does not need it`);
  const overlay = await progress.step(`joining ${namesOf(hosts)}`, () => Overlay.open({ hosts, signal }));
  try {
    const pairs = overlay.members.flatMap((from) =>
      overlay.members.filter((to) => to !== from).map((to): readonly [Member, Member] => [from, to]),
    );
    const directions: Direction[] = [];
    for (const [from, to] of pairs) {
      const title = `${from.host.name} (${from.dataplane}) -> ${to.host.name} (${to.dataplane})`;
      directions.push(await progress.step(title, () => direction(from, to), noteOf));
    }
    const drops = Object.entries(await overlay.drops()).filter(([, count]) => count > 0);
    return { kernelVxlanMissing: missing, directions, drops: Object.fromEntries(drops) };
  } catch (error) {
    // When a daemon is gone, its last words explain more than whatever failed because of that.
    throw signal.aborted ? error : (overlay.failure() ?? error);
  } finally {
    await progress.step('removing everything again', () => overlay.close());
  }
}

/** Everything the demo needs and could miss, asked before anything is made. */
async function preflight(): Promise<void> {
  if (process.geteuid?.() !== 0) {
    const why = 'the demo makes network namespaces, which only root may do';
    throw new KerseyError('PERMISSION', why, { remedy: 'run it as root: sudo npm run demo' });
  }
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch (cause) {
    const remedy = 'load the module: modprobe tun; in a container, pass the device in: --device /dev/net/tun';
    throw new KerseyError('TUN_MISSING', '/dev/net/tun cannot be opened', { remedy, cause });
  }
  for (const [tool, argument] of [
    ['ip', '-V'],
    ['ping', '-V'],
    ['iperf3', '-v'],
  ] as const) {
    const { exitCode } = await run([tool, argument], { anyExit: true });
    if (exitCode !== 0) throw toolMissing(tool);
  }
}

async function probe(signal: AbortSignal): Promise<string | undefined> {
  const lab = await Lab.open({ hosts: ['probe'], signal });
  try {
    const [host] = lab.hosts;
    return host === undefined ? 'not probed' : await probeKernelVxlan(host);
  } finally {
    await lab.close();
  }
}

async function direction(from: Member, to: Member): Promise<Direction> {
  const pinged = await ping(from.host, to.address4, { count: 5 });
  const receiver = await PayloadReceiver.open(to.host, to.address4);
  const payload = await receiver.tcpFrom(from.host);
  await receiver.close();
  const iperf = await Iperf.open(to.host, to.address4);
  const { bitsPerSecond } = await iperf.tcp(from.host, { seconds });
  await iperf.close();
  return {
    ...{ from: from.host.name, to: to.host.name },
    dataplanes: [from.dataplane, to.dataplane],
    ...{ ping: pinged, payload },
    gigabitsPerSecond: bitsPerSecond / 1e9,
  };
}

function faultsOf({ from, to, ping: { sent, received }, payload }: Direction): readonly string[] {
  const lost = received === sent ? [] : [`${String(sent - received)} pings lost`];
  return [...lost, ...payload.faults].map((fault) => `${from} -> ${to}: ${fault}`);
}

function noteOf(seen: Direction): string {
  return `: ${pingText(seen.ping)}, ${payloadText(seen.payload)}, ${seen.gigabitsPerSecond.toFixed(2)} Gbit/s`;
}

function pingText({ sent, received, avgUs }: Ping): string {
  const time = avgUs === undefined ? '' : ` ${(avgUs / 1000).toFixed(2)} ms`;
  return `${String(received)}/${String(sent)}${time}`;
}

function payloadText({ bytes, payloads, faults }: PayloadReport): string {
  if (faults.length > 0) return `${String(faults.length)} of ${String(payloads)} corrupted`;
  return `${(bytes / 1e6).toFixed(0)} MB intact`;
}

function namesOf(hosts: readonly OverlayHost[]): string {
  return hosts.map((host) => `${host.name} (${host.dataplane})`).join(', ');
}

function text(result: DemoResult): string {
  const table = new Table({
    head: ['pair', 'dataplanes', 'ping', 'payload over TCP', 'Gbit/s'],
    colAligns: ['left', 'left', 'left', 'left', 'right'],
    style: { head: [], border: [], compact: true },
  });
  for (const seen of result.directions) {
    table.push([
      `${seen.from} -> ${seen.to}`,
      seen.dataplanes.join(' -> '),
      pingText(seen.ping),
      payloadText(seen.payload),
      seen.gigabitsPerSecond.toFixed(2),
    ]);
  }
  return [
    '',
    table.toString(),
    '',
    'engine: VXLAN in userspace, no kernel module. kernel: the vxlan module, set up as flannel does.',
    'Next:',
    '  npx kersey up --store file:/etc/kersey.json   run a node; the README has a first network file',
    '  npm run bench                                 compare with bare veth, kernel vxlan and other tunnels',
    '  README.md                                     what it is, and the first five minutes',
    '',
  ].join('\n');
}
