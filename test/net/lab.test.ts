// The lab itself: what it builds, and that nothing of it stays behind.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import t from 'tap';
import { run } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import { Lab } from '../../src/lab/lab.ts';
import { ping } from '../../src/lab/measure.ts';
import { readOffloads, setOffloads } from '../../src/lab/offloads.ts';
import { PayloadReceiver } from '../../src/lab/payload.ts';
import { listNamespaces, sweepLeftovers } from '../../src/lab/sweep.ts';
import { testProgram } from '../lib/program.ts';
import { tracesOf } from '../lib/traces.ts';
import { skipUnlessRoot } from '../lib/requirements.ts';

const skip = skipUnlessRoot();

const namespacesOf = (prefix: string): readonly string[] =>
  listNamespaces().filter((name) => name.startsWith(prefix));

t.test('hosts of a bridged lab reach each other over both families', { skip }, async (t) => {
  const lab = await Lab.open({ hosts: ['h1', 'h2', 'h3'], mtu: 1400 });
  t.teardown(() => lab.close());
  const [h1, h3] = [lab.host('h1'), lab.host('h3')];
  for (const address of [h3.address4, h3.address6]) {
    const { received } = await ping(h1, address, { count: 2 });
    t.equal(received, 2, `ping ${address}`);
  }
  const links = await h1.ipJson<{ ifname: string; mtu: number }[]>('link', 'show', 'eth0');
  t.equal(links[0]?.mtu, 1400);
});

t.test('a closed lab leaves no namespace, no interface, no program, no file', { skip }, async (t) => {
  const links = (await run(['ip', '-j', 'link'])).stdout;
  const listeners = process.listenerCount('SIGTERM');
  const lab = await Lab.open({ hosts: ['h1', 'h2'], join: 'direct' });
  t.equal(process.listenerCount('SIGTERM'), listeners + 1);
  t.same(namespacesOf(lab.id), [`${lab.id}-h1`, `${lab.id}-h2`]);
  const sleeper = lab.host('h1').spawn(['sleep', '1000']);
  await lab.close();
  await lab.close();
  t.equal(process.listenerCount('SIGTERM'), listeners);
  t.equal(sleeper.running, false);
  t.same(namespacesOf(lab.id), []);
  t.equal(existsSync(lab.directory), false);
  t.equal(
    process.listenerCount('SIGTERM'),
    process.listenerCount('SIGHUP'),
    'listeners are gone with the last lab',
  );
  const interfaces = (json: string): unknown =>
    (JSON.parse(json) as { ifname: string }[]).map((l) => l.ifname);
  t.same(interfaces((await run(['ip', '-j', 'link'])).stdout), interfaces(links));
});

t.test('a lab that fails half-way is removed', { skip }, async (t) => {
  const before = namespacesOf(`ky-${String(process.pid)}-`);
  // An interface name that the kernel refuses, after namespaces were made.
  await t.rejects(Lab.open({ hosts: ['h1', 'a-name-far-too-long-for-an-interface'] }), {
    code: 'COMMAND_FAILED',
  });
  t.same(namespacesOf(`ky-${String(process.pid)}-`), before);
});

t.test('aborting while the lab is being built removes it', { skip }, async (t) => {
  const controller = new AbortController();
  const opening = Lab.open({ hosts: ['h1', 'h2'], signal: controller.signal });
  controller.abort(new Error('enough'));
  await t.rejects(opening, { message: 'enough' });
  t.same(namespacesOf(`ky-${String(process.pid)}-`), []);
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  t.test(`${signal} removes the lab and ends the process`, { skip }, async (t) => {
    const { child, id } = await labInAnotherProcess();
    const exited = once(child, 'exit');
    child.kill(signal);
    t.same(await exited, [null, signal]);
    t.same(namespacesOf(id), []);
  });
}

t.test('what a killed process left is swept by the next lab', { skip }, async (t) => {
  const { child, id } = await labInAnotherProcess();
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
  t.equal(namespacesOf(id).length, 3);
  t.not(tracesOf(child.pid ?? 0).length, 0);
  sweepLeftovers();
  t.same(tracesOf(child.pid ?? 0), []);
});

t.test('the sweep leaves the labs of living processes alone', { skip }, async (t) => {
  const lab = await Lab.open({ hosts: ['h1'] });
  t.teardown(() => lab.close());
  t.notOk(sweepLeftovers().some((name) => name.startsWith(lab.id)));
  t.equal(namespacesOf(lab.id).length, 2);
});

t.test('offload profiles are what they say', { skip }, async (t) => {
  const lab = await Lab.open({ hosts: ['h1', 'h2'], join: 'direct' });
  t.teardown(() => lab.close());
  const [h1, h2] = [lab.host('h1'), lab.host('h2')];
  await setOffloads(h1, 'plain NIC');
  const plain = await readOffloads(h1);
  t.equal(plain.get('tx-udp_tnl-segmentation'), false);
  t.equal(plain.get('generic-receive-offload'), true);
  await setOffloads(h2, 'all off');
  const off = await readOffloads(h2);
  t.equal(off.get('tx-checksumming'), false);
  t.equal(off.get('generic-segmentation-offload'), false);
});

t.test('payloads are compared end to end, and a lost datagram is told', { skip }, async (t) => {
  const lab = await Lab.open({ hosts: ['h1', 'h2'], join: 'direct' });
  t.teardown(() => lab.close());
  const [h1, h2] = [lab.host('h1'), lab.host('h2')];
  const receiver = await PayloadReceiver.open(h2, h2.address6);
  const report = await receiver.tcpFrom(h1, [1, 1399, 100_000]);
  t.same(report, { bytes: 101_400, payloads: 3, faults: [] });
  t.same((await receiver.tcpFrom(h1, [7])).faults, []);
  t.same((await receiver.udpFrom(h1, [1, 1400, 20_000])).faults, []);
  // Without its fragments' way back, the big one cannot arrive.
  await h1.ip('link set eth0 mtu 1280');
  await h2.ip('route add blackhole fd78::1/128');
  t.same((await receiver.udpFrom(h1, [10])).faults, ['UDP datagram of 10 bytes: lost']);
});

t.test('a condition that never comes is named', async (t) => {
  await t.rejects(
    awaitCondition('the moon', () => false, { timeoutMs: 30, intervalMs: 5 }),
    { code: 'TIMEOUT', message: /the moon/ },
  );
});

t.test('a program that is not installed is one clear error', async (t) => {
  await t.rejects(run(['kersey-no-such-program']), { code: 'TOOL_MISSING', remedy: /install/ });
});

async function labInAnotherProcess(): Promise<{ child: ReturnType<typeof spawn>; id: string }> {
  const [node = '', ...args] = testProgram('hold-lab');
  const child = spawn(node, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [id] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, id: id.toString().trim() };
}
