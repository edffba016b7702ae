// A running node whose subnet is given away, deleted, or fought over in etcd.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';

import { awaitCondition } from '../../src/lab/condition.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { Status } from '../../src/observe/status.ts';
import { Flanneld } from '../lib/daemon.ts';
import { LabEtcd } from '../lib/lab-etcd.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';

const skip =
  skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('etcd') || skipUnlessInstalled('etcdctl');
const subnets = '/coreos.com/network/subnets/';
const config = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
const foreign =
  '{"PublicIP":"192.168.78.99","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:6b:79:00:00:99"}}';

t.test(
  'deleted: taken again; stolen: changed over; fought over: named',
  { skip, timeout: 200_000 },
  async (t) => {
    const lab = await Lab.open({ hosts: ['h1'] });
    const closing: (() => Promise<void>)[] = [() => lab.close()];
    t.teardown(async () => {
      for (const close of closing) await close();
    });
    const etcd = await LabEtcd.start(lab, 1);
    closing.unshift(() => etcd.close());
    await etcd.ctl('put', '/coreos.com/network/config', config);
    const h1 = lab.host('h1');
    const endpoints = `--etcd-endpoints=${etcd.endpoints.join(',')}`;
    const daemon = new Flanneld(h1, path.join(lab.directory, 'h1'), [endpoints, '-iface=eth0']);
    // While it changes over its control socket comes and goes.
    const status = (what: string, wanted: (status: Status) => boolean): Promise<Status> =>
      awaitCondition(
        `the daemon that ${what}`,
        async () => {
          if (!daemon.process.running) throw daemon.process.failure();
          const now = await daemon.status().catch(() => undefined);
          return now !== undefined && wanted(now) && now;
        },
        { timeoutMs: 60_000, intervalMs: 50 },
      );
    const { lease } = await daemon.ready();
    const first = lease.subnet ?? '';
    const keyOf = (subnet: string): string => subnets + subnet.replace('/', '-');
    const value = (await etcd.ctl('get', '--print-value-only', keyOf(first))).trim();
    t.ok(Date.parse(lease.expires ?? '') > Date.now() + 23 * 3_600_000, 'the status says until when');

    await etcd.ctl('del', keyOf(first));
    await awaitCondition('the lease to be back', async () => {
      return (await etcd.ctl('get', '--print-value-only', keyOf(first))).trim() === value;
    });

    // The containers' bridge.
    await h1.exec(['ip', 'link', 'add', 'cni0', 'type', 'bridge']);
    await h1.exec(['ip', 'addr', 'add', first.replace('.0/', '.1/'), 'dev', 'cni0']);
    await etcd.ctl('put', keyOf(first), foreign);
    const moved = await status('has another subnet', (now) => (now.lease.subnet ?? first) !== first);
    const second = moved.lease.subnet ?? '';
    const line = `FLANNEL_SUBNET=${second.replace('.0/', '.1/')}`;
    t.ok(readFileSync(daemon.subnetFile, 'utf8').includes(line), 'the subnet file has it');
    t.equal(
      (await etcd.ctl('get', '--print-value-only', keyOf(first))).trim(),
      foreign,
      'theirs is untouched',
    );
    t.match(await status('names the bridge', ({ problems }) => problems.length > 0), {
      state: 'degraded',
      problems: [{ code: 'SUBNET_OVERLAP', message: /cni0/ }],
    });
    await h1.exec(['ip', 'link', 'del', 'cni0']);
    const well = await status('is well', ({ state }) => state === 'ok');
    t.ok(
      well.warnings.some((warning) => warning.includes('changed over') && warning.includes(first)),
      well.warnings.join('\n'),
    );
    t.match(daemon.process.stderr, /SUBNET_OVERLAP.*changing over/);

    // Another daemon with our address.
    const [granted = ''] = /[\da-f]{10,}/.exec(await etcd.ctl('lease', 'grant', '3600')) ?? [];
    await etcd.ctl('put', `--lease=${granted}`, keyOf(second), value);
    t.match(await status('names the other', ({ problems }) => problems.length > 0), {
      problems: [{ code: 'STORE_CONFLICT', message: /same public address/ }],
    });
    t.equal(await daemon.end(), 0);
  },
);
