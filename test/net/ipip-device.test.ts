// The driver of the kernel's ipip device in namespaces, where the kernel has ipip: judged by `ip`, and by a ping.

import t from 'tap';

import type { IpipDevicePlan } from '../../src/backend/plan.ts';
import { run } from '../../src/lab/command.ts';
import { Lab } from '../../src/lab/lab.ts';
import { sourceCommand } from '../../src/lab/self.ts';
import { Netlink } from '../../src/netlink/client.ts';
import { IpipDevice } from '../../src/node/devices/ipip-device.ts';
import { probeIpip } from '../../src/node/devices/kernel-probe.ts';
import { inOwnNetns } from '../lib/own-netns.ts';

interface Shown {
  readonly mtu: number;
  readonly linkinfo: { readonly info_kind: string; readonly info_data: Readonly<Record<string, unknown>> };
}

async function main(): Promise<void> {
  const netlink = Netlink.open();
  t.teardown(() => {
    netlink.close();
  });
  const missing = probeIpip(netlink);
  if (missing !== undefined) {
    t.pass('the kernel ipip device', { skip: `this kernel makes none: ${missing}` });
    return;
  }

  await t.test('the device is the one that flannel makes, and what does not fit is replaced', async (t) => {
    const driver = new IpipDevice({ netlink, onRepair: () => undefined });
    await run('ip link add flannel.ipip type ipip local 192.168.7.9 remote 192.168.7.2'.split(' '));
    const link = driver.ensure(planFor('192.168.7.1'));
    const { stdout } = await run(['ip', '-j', '-d', 'link', 'show', 'flannel.ipip']);
    const [shown] = JSON.parse(stdout) as readonly Shown[];
    const { local, remote, ttl, pmtudisc } = shown?.linkinfo.info_data ?? {};
    t.same([shown?.linkinfo.info_kind, shown?.mtu], ['ipip', 1480]);
    t.same([local, remote, ttl, pmtudisc], ['192.168.7.1', 'any', 0, false]);
    t.equal(driver.ensure(planFor('192.168.7.1')).index, link.index);
    driver.remove();
    t.equal(netlink.link('flannel.ipip'), undefined);
  });

  await t.test('two hosts with such devices reach each other', async (t) => {
    const lab = await Lab.open({ hosts: ['h1', 'h2'], join: 'direct' });
    t.teardown(() => lab.close());
    const script = new URL('../lib/kernel-device-main.ts', import.meta.url).pathname;
    for (const [own, other] of [
      [1, 2],
      [2, 1],
    ] as const) {
      const plan: IpipDevicePlan = {
        ...planFor(lab.host(`h${own}`).address4),
        addresses: [`10.5.${own}.0/32`],
        routes: [{ dst: `10.5.${other}.0/24`, via: lab.host(`h${other}`).address4 }],
      };
      await lab.host(`h${own}`).exec([...sourceCommand(script), JSON.stringify(plan)]);
    }
    const { stdout } = await lab.host('h1').exec('ping -c 3 -i 0.2 -W 5 -I 10.5.1.0 10.5.2.0'.split(' '));
    t.match(stdout, /3 packets transmitted, 3 received/);
  });
}

function planFor(local: string): IpipDevicePlan {
  return {
    kind: 'ipip',
    name: 'flannel.ipip',
    family: 4,
    mtu: 1480,
    addresses: [],
    routes: [],
    local,
    underlay: 'eth0',
  };
}

if (inOwnNetns(import.meta.filename)) await main();
