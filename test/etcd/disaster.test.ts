// A node that runs while its etcd loses a member for good, or everything.

import path from 'node:path';
import t, { type Test } from 'tap';

import { awaitCondition } from '../../src/lab/condition.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { Status } from '../../src/observe/status.ts';
import { Flanneld } from '../lib/daemon.ts';
import { LabEtcd } from '../lib/lab-etcd.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';

const skip =
  skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('etcd') || skipUnlessInstalled('etcdctl');
const subnets = '/coreos.com/network/subnets/';
const config = '{"Network":"10.5.0.0/16","SubnetMax":"10.5.100.0","Backend":{"Type":"vxlan"}}';
const patient = { timeoutMs: 60_000, intervalMs: 100 };

async function running(t: Test, members: number) {
  const lab = await Lab.open({ hosts: ['h1'] });
  const closing: (() => Promise<void>)[] = [() => lab.close()];
  t.teardown(async () => {
    for (const close of closing) await close();
  });
  const etcd = await LabEtcd.start(lab, members);
  closing.unshift(() => etcd.close());
  await etcd.ctl('put', '/coreos.com/network/config', config);
  const endpoints = `--etcd-endpoints=${etcd.endpoints.join(',')}`;
  const daemon = new Flanneld(lab.host('h1'), path.join(lab.directory, 'h1'), [endpoints, '-iface=eth0']);
  const { lease, overlays } = await daemon.ready();
  const key = subnets + (lease.subnet ?? '').replace('/', '-');
  const read = async (): Promise<string> =>
    (await etcd.ctl('get', '--print-value-only', key).catch(() => '')).trim();
  /** Until there is a leader, etcd takes no write. */
  const write = (...args: readonly string[]): Promise<string> =>
    awaitCondition(
      `etcd to take ${args.join(' ')}`,
      () => etcd.ctl(...args).catch(() => false as const),
      patient,
    );
  const putPeer = (number: number): Promise<string> =>
    write('put', `${subnets}10.5.${number}.0-24`, valueOf(number));
  return { etcd, daemon, lease, vtepMac: overlays[0]?.vtepMac, key, read, write, putPeer };
}

const valueOf = (number: number): string =>
  `{"PublicIP":"192.168.78.${number}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:6b:79:00:00:01"}}`;

const knows =
  (...numbers: readonly number[]) =>
  ({ state, overlays }: Status): boolean =>
    state === 'ok' &&
    numbers.every(
      (number) => overlays[0]?.peers.some(({ prefix }) => prefix === `10.5.${number}.0/24`) === true,
    );

t.test(
  'one of three members is replaced by an empty one, and then it is needed',
  { skip, timeout: 200_000 },
  async (t) => {
    const { etcd, daemon, lease, key, read, write, putPeer } = await running(t, 3);
    await putPeer(201);
    await daemon.until('knows the first', knows(201));
    const value = await read();

    await etcd.kill(1);
    await putPeer(202);
    await daemon.until('goes on with two', knows(201, 202));
    await etcd.replace(1);
    await putPeer(203);
    await daemon.until('goes on with three', knows(201, 202, 203));

    // Of the old members only one is left: without the new one there would be no majority.
    await etcd.kill(2);
    await putPeer(204);
    await daemon.until('goes on with the new one', knows(201, 202, 203, 204));
    await write('del', key);
    await awaitCondition('our lease to be written again', async () => (await read()) === value, patient);
    const after = await daemon.until('is well', knows(201, 204));
    t.equal(after.lease.subnet, lease.subnet);
    t.ok(daemon.process.running);
    t.equal(await daemon.end(), 0);
  },
);

t.test(
  'everything is gone from etcd: our lease is put again as it was',
  { skip, timeout: 200_000 },
  async (t) => {
    const { etcd, daemon, lease, vtepMac, read, write, putPeer } = await running(t, 1);
    await putPeer(201);
    await daemon.until('knows the other', knows(201));
    const value = await read();
    t.not(value, '');

    await etcd.kill(0);
    await daemon.until('sees that etcd is away', ({ state }) => state === 'degraded');
    etcd.wipe(0);
    await etcd.startMember(0);
    const empty = await daemon.until('sees that etcd is empty', ({ problems }) =>
      problems.some(({ code }) => code === 'CONFIG_MISSING'),
    );
    t.equal(empty.lease.subnet, lease.subnet, 'it keeps its subnet and says what is wrong');
    await write('put', '/coreos.com/network/config', config);
    await awaitCondition('our lease to be put again', async () => (await read()) === value, patient);
    await putPeer(202);
    const after = await daemon.until('is well', knows(202));
    t.equal(after.lease.subnet, lease.subnet);
    t.equal(after.overlays[0]?.vtepMac, vtepMac);
    t.same(
      after.overlays[0]?.peers.map(({ prefix }) => prefix),
      ['10.5.202.0/24'],
      'what etcd has forgotten is gone',
    );
    t.equal(await daemon.end(), 0);
  },
);
