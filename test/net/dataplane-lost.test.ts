// A kernel that makes no vxlan devices any more while a node runs on it: where the choice was ours the engine takes over,
// where it was the operator's it is a problem until the kernel can again. A real namespace; only the making of a vxlan
// device is refused by the test.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';

import { prepareBackend } from '../../src/backend/open.ts';
import { parseNetworkConfig } from '../../src/config/network.ts';
import { KerseyError } from '../../src/errors.ts';
import { parseCidr } from '../../src/net/cidr.ts';
import { Netlink } from '../../src/netlink/client.ts';
import { NetlinkEvents } from '../../src/netlink/events.ts';
import { Comparison } from '../../src/node/comparison.ts';
import { chooseDataplane } from '../../src/node/dataplane.ts';
import type { DataplaneWish } from '../../src/node/dataplane.ts';
import { probeKernelVxlan } from '../../src/node/devices/kernel-probe.ts';
import { ExtensionRunner } from '../../src/node/devices/extension-runner.ts';
import { driverMaker } from '../../src/node/devices/make.ts';
import { hostFacts } from '../../src/node/facts.ts';
import { keepFirewall } from '../../src/node/firewall.ts';
import { Notices } from '../../src/node/notices.ts';
import { backendContext } from '../../src/node/parts.ts';
import type { NodeOptions } from '../../src/node/parts.ts';
import { Reconciler } from '../../src/node/reconcile.ts';
import { nodeStatus } from '../../src/node/status.ts';
import { UnderlayKeeper } from '../../src/node/underlay.ts';
import { Undo } from '../../src/node/undo.ts';
import type { Status } from '../../src/observe/status.ts';
import type { Lease } from '../../src/store/lease.ts';
import type { SubnetManager } from '../../src/store/subnet-manager.ts';
import { inOwnNetns } from '../lib/own-netns.ts';
import { skipUnlessTun } from '../lib/requirements.ts';

const ip = (text: string): string => execFileSync('ip', text.split(' '), { encoding: 'utf8' });

function deviceKind(): string | undefined {
  const all = JSON.parse(ip('-d -j link show')) as {
    readonly ifname: string;
    readonly linkinfo?: { readonly info_kind?: string };
  }[];
  return all.find(({ ifname }) => ifname === 'flannel.1')?.linkinfo?.info_kind;
}

function lease(n: number): Lease {
  return {
    ...{ subnet: parseCidr(`10.5.${n}.0/24`), subnet6: undefined },
    attrs: {
      ...{ publicIP: `192.168.78.${n}`, publicIPv6: null, backendType: 'vxlan' },
      backendData: { VNI: 1, VtepMAC: `0e:00:00:00:00:0${n}` },
    },
  };
}

interface World {
  /** Whether the kernel refuses to make vxlan devices. */
  lost: boolean;
  readonly comparison: Comparison;
  readonly status: () => Status;
}

function refusing(netlink: Netlink, lost: () => boolean): Netlink {
  return new Proxy(netlink, {
    get(target, key): unknown {
      const value: unknown = Reflect.get(target, key);
      if (typeof value !== 'function') return value;
      return (...args: readonly unknown[]): unknown => {
        if (key === 'createLink' && lost()) {
          const cause = Object.assign(new Error('EOPNOTSUPP'), { code: 'EOPNOTSUPP' });
          throw new KerseyError('NETLINK', 'cannot create the device: EOPNOTSUPP', { cause });
        }
        return Reflect.apply(value, target, args);
      };
    },
  });
}

/** What makeParts() makes, with a store that holds two leases and never changes. */
async function world(t: Test, wish: DataplaneWish, backend: object = {}): Promise<World> {
  const undo = new Undo();
  const directory = mkdtempSync(path.join(tmpdir(), 'kersey-test-'));
  t.teardown(async () => {
    await undo.run();
    rmSync(directory, { recursive: true });
    if (deviceKind() !== undefined) ip('link delete flannel.1');
  });
  const config = parseNetworkConfig({ Network: '10.5.0.0/16', Backend: { Type: 'vxlan', ...backend } });
  const own = lease(1);
  const store: SubnetManager = {
    description: 'test',
    shared: false,
    config: () => Promise.resolve(config),
    acquire: () => Promise.resolve(own),
    async *watch() {
      // Nothing changes.
    },
    health: () => ({ problems: [], warnings: [], disputed: false, term: undefined }),
    close: () => Promise.resolve(),
  };
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const options: NodeOptions = {
    ...{ version: '0', store, log, dataplane: wish, engine: {}, runDir: directory },
    wish: { ifaces: ['eth0'], ifaceRegexes: [] },
    subnetFile: path.join(directory, 'subnet.env'),
    firewall: {
      ...{ mode: 'off', first: { dialect: 'nft', why: 'nft works', asked: false } },
      ...{ masquerade: false, forward: false, fullyRandom: true, resync: 5 },
    },
  };
  const state = { lost: false };
  const real = Netlink.open();
  undo.add(() => {
    real.close();
  });
  const netlink = refusing(real, () => state.lost);
  const underlay = new UnderlayKeeper(options.wish, [4], netlink);
  const choice = chooseDataplane(wish, config, netlink);
  const stop = new AbortController();
  const makeBackend = await prepareBackend(config, stop.signal);
  const made = makeBackend(backendContext(options, config, choice, underlay));
  const notices = new Notices(log);
  const onChange = (): void => undefined;
  const reconciler = new Reconciler({
    ...{ netlink, makeDriver: driverMaker(netlink) },
    onRepair: notices.repaired.bind(notices),
  });
  undo.add(() => {
    reconciler.close();
  });
  const events = NetlinkEvents.open(onChange);
  undo.add(() => {
    events.close();
  });
  const commands = new ExtensionRunner({ log, onChange });
  undo.add(() => commands.close());
  const firewall = await keepFirewall(
    { options: options.firewall, config, own, notices, log, undo, onChange },
    stop.signal,
  );
  const facts = hostFacts(underlay.current, netlink.links(), netlink.addresses(), made.deviceNames);
  const parts = {
    ...{ options, undo, config, underlay, choice, makeBackend, backend: made, netlink, events },
    ...{ reconciler, commands, notices, stop, firewall, own, facts },
  };
  const comparison = new Comparison(parts, { onMoved: onChange, onLater: onChange });
  comparison.take({ kind: 'leases', leases: [own, lease(2)], warnings: [] });
  t.same(comparison.run().problems, []);
  return Object.assign(state, { comparison, status: () => nodeStatus(parts, comparison, new Date()) });
}

if (inOwnNetns(import.meta.filename)) {
  ip('link set lo up');
  ip('link add eth0 type veth peer name eth1');
  ip('address add 192.168.78.1/24 dev eth0');
  ip('link set eth0 up');
  ip('link set eth1 up');
  const netlink = Netlink.open();
  const lacks = probeKernelVxlan(netlink);
  netlink.close();
  const skip = skipUnlessTun() || (lacks !== undefined && `no kernel vxlan: ${lacks}`);

  t.test('chosen by us: the engine takes over, and stays', { skip }, async (t) => {
    const w = await world(t, 'auto');
    t.equal(deviceKind(), 'vxlan');
    w.lost = true;
    ip('link delete flannel.1');
    t.same(w.comparison.run(), { problems: [], settled: true });
    t.equal(deviceKind(), 'tun');
    t.match(ip('route show dev flannel.1'), /^10\.5\.2\.0\/24 via 10\.5\.2\.0 onlink/m);
    t.match(w.status(), {
      state: 'ok',
      dataplane: {
        mode: 'engine',
        wish: 'auto',
        why: /because this kernel makes no vxlan device: .*EOPNOTSUPP/,
      },
      overlays: [{ kind: 'engine', state: 'running', peers: [{ prefix: '10.5.2.0/24' }] }],
    });
    w.lost = false;
    w.comparison.run();
    t.equal(deviceKind(), 'tun', 'a kernel that can again is for the operator to choose');
    w.comparison.setDataplane('auto');
    t.equal(deviceKind(), 'vxlan', 'who does');
    t.match(w.status(), { state: 'ok', dataplane: { mode: 'kernel', wish: 'auto' } });
  });

  t.test('chosen by the operator: a problem until the kernel can again', { skip }, async (t) => {
    const w = await world(t, 'kernel');
    w.lost = true;
    ip('link delete flannel.1');
    t.match(w.comparison.run(), { problems: [{ code: 'NETLINK' }], settled: false });
    t.equal(deviceKind(), undefined);
    t.match(w.status(), {
      state: 'degraded',
      dataplane: { mode: 'kernel', wish: 'kernel' },
      overlays: [{ kind: 'vxlan', state: 'failed', reason: /EOPNOTSUPP/ }],
    });
    t.equal(w.comparison.brief().ready, false, 'it does not forward');
    w.lost = false;
    t.same(w.comparison.run(), { problems: [], settled: true });
    t.equal(deviceKind(), 'vxlan');
    t.match(w.status(), { state: 'ok', overlays: [{ state: 'running', reason: null }] });
    t.equal(w.comparison.brief().ready, true);
  });

  t.test('chosen by us, with what only the kernel has: a problem as well', { skip }, async (t) => {
    const w = await world(t, 'auto', { GBP: true });
    w.lost = true;
    ip('link delete flannel.1');
    for (let i = 0; i < 2; i++) {
      t.match(w.comparison.run(), {
        problems: [{ code: 'BACKEND_UNSUPPORTED', message: /GBP/ }],
        settled: false,
      });
      t.match(w.status(), { state: 'degraded', dataplane: { mode: 'kernel', wish: 'auto' } });
    }
    w.lost = false;
    t.same(w.comparison.run(), { problems: [], settled: true });
    t.equal(deviceKind(), 'vxlan');
  });

  t.test('asked for while it is lost: refused, with everything as it was', { skip }, async (t) => {
    const w = await world(t, 'engine');
    const before = w.status();
    const index = ip('-o link show flannel.1');
    w.lost = true;
    t.throws(
      () => {
        w.comparison.setDataplane('kernel');
      },
      { code: 'BACKEND_UNSUPPORTED' },
    );
    t.same(w.status().dataplane, before.dataplane);
    t.equal(ip('-o link show flannel.1'), index, 'the device was not touched');
    w.comparison.setDataplane('auto');
    t.match(w.status(), { state: 'ok', dataplane: { mode: 'engine', wish: 'auto', why: /EOPNOTSUPP/ } });
    t.equal(ip('-o link show flannel.1'), index, 'the same device under another wish');
  });
}
