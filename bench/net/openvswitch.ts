// Open vSwitch with its userspace ("netdev") datapath and a vxlan port: another VXLAN in userspace.
//
// Per host a bridge that owns the underlay address (its port eth0 is read through AF_PACKET) and one whose local port
// is the overlay. Kernel vxlan is not involved. One ovsdb-server and one ovs-vswitchd a host.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { ping } from '../../src/lab/measure.ts';
import type { Contender } from './contender.ts';
import { missingPrograms } from './installed.ts';
import { openVeth } from './plain.ts';

const schema = '/usr/share/openvswitch/vswitch.ovsschema';

export const openVSwitch: Contender = {
  name: 'Open vSwitch netdev',
  vouched: false,
  unavailable: () => missingPrograms('ovs-vswitchd', 'ovsdb-server', 'ovs-vsctl', 'ovsdb-tool'),
  open: async (options) => {
    const lab = await openVeth(options);
    try {
      for (const [index, host] of lab.hosts.entries()) await startSwitch(lab, host, index);
      const [first] = lab.hosts;
      if (first === undefined) throw new RangeError('a lab without hosts');
      await awaitCondition(
        'Open vSwitch',
        async () => (await ping(first, '10.99.0.2', { count: 1 })).received > 0,
      );
      return { lab, address: '10.99.0.2', close: () => lab.close() };
    } catch (error) {
      await lab.close();
      throw error;
    }
  },
};

async function startSwitch(lab: Lab, host: Host, index: number): Promise<void> {
  const directory = join(lab.directory, `ovs-${host.name}`);
  mkdirSync(directory);
  const path = (name: string): string => join(directory, name);
  const database = `unix:${path('db.sock')}`;
  const control = (name: string): readonly string[] => [
    `--unixctl=${path(`${name}.ctl`)}`,
    `--pidfile=${path(`${name}.pid`)}`,
  ];
  await run(['ovsdb-tool', 'create', path('conf.db'), schema]);
  host.spawn(['ovsdb-server', path('conf.db'), `--remote=p${database}`, ...control('ovsdb')]);
  const vsctl = (...args: readonly string[]): Promise<unknown> =>
    host.exec(['ovs-vsctl', '--timeout=10', `--db=${database}`, ...args]);
  await awaitCondition('ovsdb-server', async () => {
    const { exitCode } = await host.exec(
      ['ovs-vsctl', '--timeout=5', `--db=${database}`, '--no-wait', 'init'],
      { anyExit: true },
    );
    return exitCode === 0;
  });
  host.spawn(['ovs-vswitchd', database, '--disable-system', ...control('vswitchd')]);
  const remote = lab.hosts[1 - index]?.address4 ?? '';
  await host.ip(`address flush dev ${host.device}`);
  await vsctl(
    'add-br',
    'bp',
    '--',
    'set',
    'bridge',
    'bp',
    'datapath_type=netdev',
    '--',
    'add-port',
    'bp',
    host.device,
  );
  await host.ip(`address add ${host.address4}/24 dev bp`, 'link set bp up');
  const tunnel = ['type=vxlan', `options:remote_ip=${remote}`, 'options:key=9', 'options:dst_port=8499'];
  await vsctl(
    ...['add-br', 'bi', '--', 'set', 'bridge', 'bi', 'datapath_type=netdev'],
    ...['--', 'add-port', 'bi', 'vx', '--', 'set', 'interface', 'vx', ...tunnel],
  );
  await host.ip(`address add 10.99.0.${index + 1}/24 dev bi`, 'link set bi mtu 1450 up');
}
