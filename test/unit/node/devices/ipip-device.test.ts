// The driver of the ipip device against a kernel of a few lines, because few kernels that tests run on have ipip. What
// the real one is sent is tested in test/net/netlink-vxlan.test.ts, and with a kernel that has it in test/net.

import t from 'tap';

import type { IpipDevicePlan } from '../../../../src/backend/plan.ts';
import { KerseyError } from '../../../../src/errors.ts';
import type { IpipTunnel } from '../../../../src/netlink/ipip-link.ts';
import type { Link } from '../../../../src/netlink/link.ts';
import { IpipDevice } from '../../../../src/node/devices/ipip-device.ts';
import type { KernelDeviceNetlink } from '../../../../src/node/devices/kernel-device.ts';

const plan: IpipDevicePlan = {
  kind: 'ipip',
  name: 'flannel.ipip',
  family: 4,
  mtu: 1480,
  addresses: [],
  routes: [],
  local: '192.168.7.1',
  underlay: 'eth0',
};

class Kernel implements KernelDeviceNetlink {
  readonly devices: Link[] = [];
  #index = 1;

  add(name: string, kind: string, tunnel?: Partial<IpipTunnel>): Link {
    const link: Link = {
      index: this.#index++,
      ...{ name, kind, up: false, lowerUp: false, loopback: false, mtu: 1480, txQueueLen: 0, mac: undefined },
      ...{ gsoMaxSize: undefined, gsoIpv4MaxSize: undefined, parent: undefined, master: undefined },
      tunnel: tunnel === undefined ? undefined : { ...asFlannel, ...tunnel },
    };
    this.devices.push(link);
    return link;
  }

  link(name: string): Link | undefined {
    return this.devices.find((device) => device.name === name);
  }

  links(): readonly Link[] {
    return this.devices;
  }

  createLink({ name, tunnel }: Parameters<KernelDeviceNetlink['createLink']>[0]): Link {
    if (tunnel.kind !== 'ipip') throw new Error('another kind');
    const taken = this.devices.some(
      (device) =>
        device.name === name ||
        (device.tunnel?.kind === 'ipip' &&
          device.tunnel.local === tunnel.local &&
          device.tunnel.remote === undefined),
    );
    if (taken) {
      const cause = Object.assign(new Error('File exists'), { code: 'EEXIST' });
      throw new KerseyError('NETLINK', `cannot make the ipip device ${name}`, { cause });
    }
    return this.add(name, 'ipip', { local: tunnel.local });
  }

  deleteLink({ index }: { readonly index: number }): void {
    const at = this.devices.findIndex((device) => device.index === index);
    if (at >= 0) this.devices.splice(at, 1);
  }
}

const asFlannel: IpipTunnel = {
  kind: 'ipip',
  local: '192.168.7.1',
  ...{ remote: undefined, underlay: undefined, ttl: 0, tos: 0 },
  ...{ pathMtuDiscovery: false, external: false, encapsulated: false },
};

function open(kernel: Kernel): { driver: IpipDevice; repairs: string[] } {
  const repairs: string[] = [];
  const driver = new IpipDevice({
    netlink: kernel,
    onRepair: (kind, what) => {
      repairs.push(`${kind}: ${what}`);
    },
  });
  return { driver, repairs };
}

t.test('the device is made once and stays when the driver is closed', async (t) => {
  const kernel = new Kernel();
  const { driver, repairs } = open(kernel);
  const link = driver.ensure(plan);
  t.match(link, { name: 'flannel.ipip', tunnel: asFlannel });
  t.equal(driver.ensure(plan).index, link.index);
  t.same(driver.applyPeers(), []);
  t.same(repairs, []);
  driver.close();
  t.same(driver.state(), { kind: 'closed' });
  t.same(kernel.devices, [link]);
  const again = open(kernel);
  t.equal(again.driver.ensure(plan).index, link.index, 'and is adopted by the next');
  again.driver.remove();
  t.same(kernel.devices, []);
});

t.test('one that does not fit is made again', async (t) => {
  const misfits: readonly Partial<IpipTunnel>[] = [
    { local: '192.168.7.9' },
    { local: undefined },
    { remote: '192.168.7.2' },
    { underlay: 3 },
    { external: true },
    { encapsulated: true },
  ];
  for (const misfit of misfits) {
    const kernel = new Kernel();
    const old = kernel.add('flannel.ipip', 'ipip', misfit);
    const { driver, repairs } = open(kernel);
    t.not(driver.ensure(plan).index, old.index, JSON.stringify(misfit));
    t.equal(kernel.devices.length, 1);
    t.same(repairs, []);
  }
});

t.test('damage is a repair, another plan is none', async (t) => {
  const kernel = new Kernel();
  const { driver, repairs } = open(kernel);
  kernel.deleteLink(driver.ensure(plan));
  kernel.deleteLink(driver.ensure(plan));
  kernel.add('flannel.ipip', 'ipip', { remote: '192.168.7.2' });
  kernel.deleteLink(driver.ensure(plan));
  kernel.add('flannel.ipip', 'ipip', {});
  driver.ensure(plan);
  t.same(repairs, [
    'device: flannel.ipip was gone; made again',
    'device: flannel.ipip had the remote address 192.168.7.2; made again',
    'device: flannel.ipip was made again by somebody else; adopted',
  ]);
  t.match(driver.ensure({ ...plan, local: '192.168.8.1' }).tunnel, { local: '192.168.8.1' });
  t.equal(repairs.length, 3);
});

t.test('our own device is made again when somebody renamed it', async (t) => {
  const kernel = new Kernel();
  const { driver, repairs } = open(kernel);
  const link = driver.ensure(plan);
  kernel.deleteLink(link);
  kernel.devices.push({ ...link, name: 'renamed0' });
  t.equal(driver.ensure(plan).name, 'flannel.ipip');
  t.equal(kernel.devices.length, 1);
  t.equal(repairs.length, 1);
});

t.test("what is somebody else's is named and left alone", async (t) => {
  const kernel = new Kernel();
  const tun = kernel.add('flannel.ipip', 'tun');
  const { driver } = open(kernel);
  t.throws(() => driver.ensure(plan), { code: 'DEVICE_TAKEN', message: /of the kind tun instead of ipip/ });
  driver.remove();
  t.same(kernel.devices, [tun]);
  kernel.deleteLink(tun);
  const other = kernel.add('mine', 'ipip', {});
  t.throws(() => open(kernel).driver.ensure(plan), {
    code: 'DEVICE_TAKEN',
    message: /mine has the local address 192\.168\.7\.1/,
  });
  t.same(kernel.devices, [other]);
});
