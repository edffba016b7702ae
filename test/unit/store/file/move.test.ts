// A host whose public address changes while it runs keeps its subnet, unless that is another's by now.

import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { formatLeaseKey } from '../../../../src/store/lease.ts';
import type { JsonObject } from '../../../../src/store/lease.ts';
import { openStore } from '../../../../src/store/open.ts';
import type { AcquireRequest, SubnetManager } from '../../../../src/store/subnet-manager.ts';
import { ownDirectory } from './fixtures/own-directory.ts';

const config = { Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } } as const;
const [oldIp, newIp, peerIp] = ['192.168.0.1', '192.168.0.77', '192.168.0.2'] as const;

const want = (publicIP: string, more: Partial<AcquireRequest> = {}): AcquireRequest => ({
  publicIP,
  backendType: 'vxlan',
  backendData: (existing) => existing ?? { VNI: 1, VtepMAC: '0e:00:00:00:00:01' },
  ...more,
});

interface World {
  readonly file: string;
  open(): SubnetManager;
  leases(): Record<string, JsonObject>;
  edit(leases: Record<string, JsonObject>): void;
  /** `10.5.1.0-24 192.168.0.1` */
  rows(): readonly string[];
}

function world(t: Test): World {
  const file = path.join(ownDirectory(t, { 'network.json': JSON.stringify({ config }) }), 'network.json');
  const leases = (): Record<string, JsonObject> =>
    (JSON.parse(readFileSync(file, 'utf8')) as { leases: Record<string, JsonObject> }).leases;
  return {
    file,
    open() {
      const store = openStore(`file:${file}`, { random: () => 0 });
      t.teardown(() => store.close());
      return store;
    },
    leases,
    edit: (changed) => {
      writeFileSync(file, JSON.stringify({ config, leases: changed }));
    },
    rows: () => Object.entries(leases()).map(([key, value]) => `${key} ${value['PublicIP'] as string}`),
  };
}

void t.test('the same key under the new address, with all that is in the entry', async (t) => {
  const w = world(t);
  const store = w.open();
  const held = await store.acquire(want(oldIp));
  w.edit({ '10.5.1.0-24': { ...w.leases()['10.5.1.0-24'], Comment: 'gateway' } });
  const now = await store.acquire(want(newIp, { held }));
  t.equal(formatLeaseKey(now), '10.5.1.0-24');
  t.same(w.leases(), {
    '10.5.1.0-24': {
      PublicIP: newIp,
      PublicIPv6: null,
      BackendType: 'vxlan',
      BackendData: { VNI: 1, VtepMAC: '0e:00:00:00:00:01' },
      Comment: 'gateway',
    },
  });
  const { ino } = statSync(w.file);
  t.same(await store.acquire(want(newIp, { held })), now, 'asking again is harmless');
  t.equal(statSync(w.file).ino, ino);
  t.same(await w.open().acquire(want(newIp)), now, 'and the next start finds it');
});

void t.test('two hosts that swap their addresses swap no subnets', async (t) => {
  const w = world(t);
  const [one, two] = [w.open(), w.open()];
  const held1 = await one.acquire(want(oldIp));
  const held2 = await two.acquire(want(peerIp));
  await one.acquire(want(peerIp, { held: held1 }));
  t.same(w.rows(), [`10.5.1.0-24 ${peerIp}`, `10.5.2.0-24 ${peerIp}`], 'the other entry is left alone');
  await two.acquire(want(oldIp, { held: held2 }));
  t.same(w.rows(), [`10.5.1.0-24 ${peerIp}`, `10.5.2.0-24 ${oldIp}`]);
});

void t.test('after a start, of two entries with our address the previous subnet is ours', async (t) => {
  const w = world(t);
  w.edit({ '10.5.9.0-24': { PublicIP: newIp } });
  const store = w.open();
  const held = await store.acquire(want(oldIp));
  await store.acquire(want(newIp, { held }));
  const again = await w.open().acquire(want(newIp, { previous: held.subnet }));
  t.equal(formatLeaseKey(again), '10.5.1.0-24');
  t.same(w.rows(), [`10.5.9.0-24 ${newIp}`, `10.5.1.0-24 ${newIp}`]);
});

void t.test("a key that is another's by now is left to it", async (t) => {
  const w = world(t);
  const store = w.open();
  const held = await store.acquire(want(oldIp));
  w.edit({ '10.5.1.0-24': { PublicIP: peerIp }, '10.5.9.0-24': { PublicIP: newIp } });
  const now = await store.acquire(want(newIp, { held }));
  t.equal(formatLeaseKey(now), '10.5.2.0-24', 'nor is the entry taken that names our new address');
  t.same(w.rows(), [`10.5.1.0-24 ${peerIp}`, `10.5.9.0-24 ${newIp}`, `10.5.2.0-24 ${newIp}`]);
});

void t.test('a key that is gone is made again, and one that somebody corrected is kept', async (t) => {
  const w = world(t);
  const store = w.open();
  const held = await store.acquire(want(oldIp));
  w.edit({});
  t.equal(formatLeaseKey(await store.acquire(want(newIp, { held }))), '10.5.1.0-24');
  w.edit({ '10.5.1.0-24': { PublicIP: newIp, Comment: 'by hand' } });
  t.equal(formatLeaseKey(await store.acquire(want(newIp, { held }))), '10.5.1.0-24');
  t.match(w.leases(), { '10.5.1.0-24': { PublicIP: newIp, Comment: 'by hand', BackendType: 'vxlan' } });
});

void t.test('what this store did not acquire is not held', async (t) => {
  const w = world(t);
  const held = await w.open().acquire(want(oldIp));
  const now = await w.open().acquire(want(newIp, { held }));
  t.equal(formatLeaseKey(now), '10.5.2.0-24');
  t.same(w.rows(), [`10.5.1.0-24 ${oldIp}`, `10.5.2.0-24 ${newIp}`]);
});
