// The driver where the kernel makes the devices: adopting, making again, removing. A kernel without wireguard is helped
// out by a wireguard-go in the background, which nobody watches either, and whose TUN is passed off as the kernel's.

import { execFileSync, spawnSync } from 'node:child_process';
import t from 'tap';

import type { WireguardDevicePlan } from '../../src/backend/plan.ts';
import { Netlink } from '../../src/netlink/client.ts';
import type { Link } from '../../src/netlink/link.ts';
import { createLink } from '../../src/netlink/link-create.ts';
import { WireguardDevice } from '../../src/node/devices/wireguard-device.ts';
import type { WireguardDeviceOptions } from '../../src/node/devices/wireguard-device.ts';
import { hasControlSocket, waitUntil } from '../../src/node/devices/wireguard-go.ts';
import { inOwnNetns } from '../lib/own-netns.ts';
import { skipUnlessInstalled, skipUnlessWireguard } from '../lib/requirements.ts';

const name = `kw${process.pid}`;
const key = (n: number): string => Buffer.alloc(32, n).toString('base64');

const plan: WireguardDevicePlan = {
  ...{ kind: 'wireguard', name, family: 4, mtu: 1420, addresses: [], routes: [] },
  ...{ listenPort: 51820, privateKey: key(64) },
  peers: [{ publicKey: key(2), endpoint: '192.168.78.2:51820', allowedIps: ['10.5.2.0/24'], keepalive: 0 }],
};

function kernelMakes(device: string, kind: string): void {
  try {
    createLink(device, kind);
  } catch {
    // The one before it, whose device was deleted, takes a moment to leave.
    waitUntil(() => !hasControlSocket(device), 5000);
    const { status, stderr } = spawnSync('wireguard-go', [device], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
  }
}

if (inOwnNetns(import.meta.filename)) {
  const skip = skipUnlessInstalled('wg', 'ip') || (await skipUnlessWireguard());
  const netlink = Netlink.open();
  t.teardown(() => {
    for (const link of netlink.links()) if (link.name.startsWith(name)) netlink.deleteLink(link);
    netlink.close();
    // Who stands in for the kernel ends with its device, after a moment, and takes its socket along.
    waitUntil(() => !hasControlSocket(name), 5000);
  });
  const asKernels = (link: Link): Link => (link.kind === 'tun' ? { ...link, kind: 'wireguard' } : link);
  const repairs: string[] = [];
  const options: WireguardDeviceOptions = {
    netlink: {
      link: (wanted) => {
        const link = netlink.link(wanted);
        return link && asKernels(link);
      },
      links: () => netlink.links().map(asKernels),
      deleteLink: (link) => {
        netlink.deleteLink(link);
      },
      setLink: (link, change) => {
        netlink.setLink(link, change);
      },
    },
    createLink: kernelMakes,
    onRepair: (kind, what) => repairs.push(`${kind}: ${what}`),
  };
  const ours = (): readonly string[] =>
    netlink
      .links()
      .map((link) => link.name)
      .filter((each) => each.startsWith(name));
  const peers = (): string => execFileSync('wg', ['show', name, 'peers'], { encoding: 'utf8' });

  t.test('a device is made, made again, and removed', { skip }, (t) => {
    const driver = new WireguardDevice(options);
    t.same(driver.state(), { kind: 'closed' });
    t.same(driver.applyPeers(plan, driver.ensure(plan)), []);
    t.equal(driver.maker, 'kernel');
    t.same(driver.state(), { kind: 'running' });
    t.equal(peers(), `${key(2)}\n`);
    const link = driver.ensure(plan);
    t.same(repairs, []);

    netlink.deleteLink(link);
    t.same(driver.applyPeers(plan, driver.ensure(plan)), []);
    t.match(repairs.splice(0), [/^device: the device kw\d+ was gone; made again$/]);
    t.equal(peers(), `${key(2)}\n`);
    driver.close();
    t.same(ours(), []);
    t.same(driver.state(), { kind: 'closed' });
    t.end();
  });

  t.test('a device that is there is adopted and keeps its sessions', { skip }, (t) => {
    kernelMakes(name, 'wireguard');
    const before = netlink.link(name)?.index;
    const stray = ['set', name, 'peer', key(9), 'allowed-ips', '10.5.9.0/24'];
    execFileSync('wg', stray);
    const driver = new WireguardDevice(options);
    const link = driver.ensure(plan);
    t.equal(link.index, before);
    t.same(driver.applyPeers(plan, link), []);
    t.equal(peers(), `${key(2)}\n`, 'what a former daemon left in it is gone');
    t.same(repairs, [], 'which is no repair');
    driver.remove();
    t.same(ours(), []);
    t.end();
  });

  t.test('whoever removes it time and again does not make us spin', { skip }, (t) => {
    let now = 0;
    const driver = new WireguardDevice({ ...options, now: () => now });
    const lose = (): void => {
      netlink.deleteLink(driver.ensure(plan));
    };
    driver.applyPeers(plan, driver.ensure(plan));
    lose();
    lose();
    t.throws(() => driver.ensure(plan), { code: 'COMMAND_FAILED', message: /2 times in a row/ });
    t.match(driver.state(), { kind: 'failed', reason: /was gone, 2 times in a row/ });
    now += 499;
    t.throws(() => driver.ensure(plan));
    now += 1;
    t.equal(driver.ensure(plan).name, name);
    t.same(driver.state(), { kind: 'running' });
    driver.close();
    t.same(ours(), []);
    repairs.splice(0);
    t.end();
  });
}
