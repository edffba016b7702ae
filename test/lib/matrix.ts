// One cell of the matrix of backends: two hosts that run `kersey up`, and everything that an operator could look at.
//
// Each host holds a reserved subnet (10.5.1.0/24 and fd00:5:0:1::/64, and 2 in place of 1) and has a bridge `cni0` with
// its first address, as a CNI plugin would make it: so every backend has something to reach, also those without a device.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Test } from 'tap';

import type { JsonObject } from '../../src/config/json.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { ping } from '../../src/lab/measure.ts';
import { PayloadReceiver } from '../../src/lab/payload.ts';
import type { Status } from '../../src/observe/status.ts';
import { Daemon } from './daemon.ts';
import { firewallText, wantedFirewall } from './matrix-rules.ts';

export type Families = 'v4' | 'v6' | 'dual';
/** With rules of nftables, or of iptables. */
export type Masquerade = 'off' | 'nft' | 'iptables';
export type DataplaneFlag = 'auto' | 'engine' | 'kernel';

export interface Cell {
  readonly backend: JsonObject;
  readonly families: Families;
  /** `--dataplane` of the one host and of the other. */
  readonly dataplanes: readonly [DataplaneFlag, DataplaneFlag];
  readonly masquerade: Masquerade;
}

/** What the routes of host 1 to host 2 must read like in `ip route`, without what the kernel makes by itself. */
export interface Expected {
  readonly routes4: readonly string[];
  readonly routes6: readonly string[];
  readonly mtu: number;
  /** false: the backend leaves packets to others. */
  readonly carries?: boolean;
  /** The status knows nothing of peers: whether they are there shows in the routes. */
  readonly uncounted?: boolean;
}

const payloads = [1, 1399, 1449, 65_535, 4 << 20];

export const allFamilies = ['v4', 'v6', 'dual'] as const satisfies readonly Families[];
/** Off, and on: by nftables and by iptables in turn, so that a cell more costs no time. */
export function masquerades(cell: number): readonly Masquerade[] {
  return ['off', cell % 2 === 0 ? 'nft' : 'iptables'];
}

export function subnet4(n: number): string {
  return `10.5.${n}.0/24`;
}
export function subnet6(n: number): string {
  return `fd00:5:0:${n}::/64`;
}

export function has(families: Families, family: 4 | 6): boolean {
  return families === 'dual' || families === `v${family}`;
}

/** Runs the cell as one subtest. */
export async function runCell(t: Test, cell: Cell, expected: Expected): Promise<void> {
  const lab = await Lab.open({ hosts: ['h1', 'h2'] });
  t.teardown(() => lab.close());
  const store = path.join(lab.directory, 'network.json');
  writeFileSync(store, JSON.stringify(documentOf(cell, lab.hosts)));
  await Promise.all(lab.hosts.map((host, i) => addBridge(host, i + 1, cell.families)));
  const daemons = lab.hosts.map((host, i) => {
    const directory = path.join(lab.directory, host.name);
    mkdirSync(directory);
    const flags = ['--iface', 'eth0', '--dataplane', cell.dataplanes[i] ?? 'auto'];
    const masquerade = cell.masquerade === 'off' ? [] : ['--ip-masq', '--firewall', cell.masquerade];
    return new Daemon(host, store, directory, [...flags, ...masquerade]);
  });
  const carries = expected.carries ?? true;
  const peers = cell.families === 'dual' ? 2 : 1;
  const statuses = await Promise.all(
    daemons.map((daemon) =>
      daemon.until(
        'knows the other',
        (status) => !carries || expected.uncounted === true || peersOf(status) >= peers,
      ),
    ),
  );
  for (const [i, status] of statuses.entries()) {
    t.match(status, { state: 'ok', problems: [], warnings: [] }, `host ${i + 1}`);
    const wanted = cell.dataplanes[i];
    if (wanted !== 'auto') t.equal(status.dataplane.mode, wanted, status.dataplane.why);
  }
  const [h1, h2] = lab.hosts;
  const [d1] = daemons;
  if (h1 === undefined || h2 === undefined || d1 === undefined) throw new Error('the lab has two hosts');

  if (expected.uncounted === true) {
    for (const host of [h1, h2]) {
      await awaitCondition('a route of the commands', async () => (await routesOf(host, 4)).length > 0);
    }
  }
  t.same(await routesOf(h1, 4), has(cell.families, 4) ? expected.routes4 : [], 'ip -4 route');
  t.same(await routesOf(h1, 6), has(cell.families, 6) ? expected.routes6 : [], 'ip -6 route');
  t.equal(readFileSync(d1.subnetFile, 'utf8'), wantedSubnetEnv(cell, expected.mtu), 'subnet.env');
  t.equal(await firewallText(h1, cell), wantedFirewall(cell), 'firewall');
  if (!carries) return;
  for (const [from, to, n] of [
    [h1, h2, 2],
    [h2, h1, 1],
  ] as const) {
    for (const address of addressesOf(n, cell.families)) {
      const { received } = await ping(from, address, { count: 3, intervalS: 0.2 });
      t.equal(received, 3, `ping ${from.name} -> ${address}`);
      const receiver = await PayloadReceiver.open(to, address);
      const { faults } = await receiver.tcpFrom(from, payloads);
      await receiver.close();
      t.same(faults, [], `payloads ${from.name} -> ${address}`);
    }
  }
  for (const daemon of daemons) t.equal(await daemon.end(), 0, 'ended in order');
}

/** The first addresses of host n's subnets, which its bridge has. */
function addressesOf(n: number, families: Families): readonly string[] {
  return [...(has(families, 4) ? [`10.5.${n}.1`] : []), ...(has(families, 6) ? [`fd00:5:0:${n}::1`] : [])];
}

function documentOf({ backend, families }: Cell, hosts: readonly Host[]): object {
  const leases = hosts.map((host, i) => {
    const key = [
      has(families, 4) ? subnet4(i + 1).replace('/', '-') : '0.0.0.0-0',
      ...(has(families, 6) ? [subnet6(i + 1).replace('/', '-')] : []),
    ].join('&');
    const value = {
      PublicIP: has(families, 4) ? host.address4 : '0.0.0.0',
      PublicIPv6: has(families, 6) ? host.address6 : null,
    };
    return [key, value] as const;
  });
  return {
    config: {
      ...(has(families, 4) ? { Network: '10.5.0.0/16' } : { EnableIPv4: false }),
      ...(has(families, 6) && { EnableIPv6: true, IPv6Network: 'fd00:5::/48' }),
      Backend: backend,
    },
    leases: Object.fromEntries(leases),
  };
}

async function addBridge(host: Host, n: number, families: Families): Promise<void> {
  await host.ip(
    'link add cni0 type bridge',
    ...(has(families, 4) ? [`address add 10.5.${n}.1/24 dev cni0`] : []),
    ...(has(families, 6) ? [`address add fd00:5:0:${n}::1/64 dev cni0 nodad`] : []),
    'link set cni0 up',
  );
}

function peersOf({ overlays, routes }: Status): number {
  return overlays.reduce((sum, overlay) => sum + overlay.peers.length, 0) + routes.length;
}

async function routesOf(host: Host, family: 4 | 6): Promise<readonly string[]> {
  const { stdout } = await host.exec(['ip', `-${family}`, 'route', 'show']);
  return stdout
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.includes('proto kernel'));
}

function wantedSubnetEnv({ families, masquerade }: Cell, mtu: number): string {
  return [
    ...(has(families, 4) ? ['FLANNEL_NETWORK=10.5.0.0/16', 'FLANNEL_SUBNET=10.5.1.1/24'] : []),
    ...(has(families, 6) ? ['FLANNEL_IPV6_NETWORK=fd00:5::/48', 'FLANNEL_IPV6_SUBNET=fd00:5:0:1::1/64'] : []),
    `FLANNEL_MTU=${mtu}`,
    `FLANNEL_IPMASQ=${String(masquerade !== 'off')}`,
    '',
  ].join('\n');
}
