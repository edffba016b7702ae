// The etcd store on real etcd: what its unit tests say of the model holds here.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { awaitCondition } from '../../src/lab/condition.ts';
import { formatCidr, parseCidr } from '../../src/net/cidr.ts';
import { EtcdClient } from '../../src/store/etcd/client.ts';
import { EtcdStore } from '../../src/store/etcd/store.ts';
import type { EtcdStoreOptions } from '../../src/store/etcd/store.ts';
import type { Lease } from '../../src/store/lease.ts';
import type { AcquireRequest, StoreEvent } from '../../src/store/subnet-manager.ts';
import { EtcdCluster } from '../lib/etcd-server.ts';
import { TcpProxy } from '../lib/tcp-proxy.ts';

const subnets = '/coreos.com/network/subnets/';
const config = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
const timing = { call: 1500, attempt: 500, backoffFrom: 50, backoffTo: 200 };
const patient = { timeoutMs: 30_000 };

async function cluster(t: Test): Promise<EtcdCluster> {
  const etcd = await EtcdCluster.start();
  t.teardown(() => etcd.close());
  await etcd.ctl(['put', '/coreos.com/network/config', config]);
  return etcd;
}

class Host {
  readonly store: EtcdStore;
  readonly number: number;
  readonly events: StoreEvent[] = [];
  readonly #stop = new AbortController();
  #following: Promise<void> | undefined;

  constructor(t: Test, etcd: EtcdCluster, number: number, options: Partial<EtcdStoreOptions> = {}) {
    const { endpoints = etcd.endpoints } = options;
    this.number = number;
    this.store = new EtcdStore(new EtcdClient({ endpoints, timing }), {
      description: 'etcd',
      ...options,
      endpoints,
    });
    t.teardown(() => this.end());
  }

  want(more: Partial<AcquireRequest> = {}): AcquireRequest {
    return {
      publicIP: `192.168.64.${this.number}`,
      backendType: 'vxlan',
      backendData: (existing) => existing ?? { VNI: 1, VtepMAC: `0e:00:00:00:00:0${this.number}` },
      ...more,
    };
  }

  async acquire(more: Partial<AcquireRequest> = {}): Promise<string> {
    return text(await this.store.acquire(this.want(more)));
  }

  follow(): void {
    this.#following = (async () => {
      for await (const event of this.store.watch(this.#stop.signal)) this.events.push(event);
    })();
  }

  get last(): StoreEvent | undefined {
    return this.events.at(-1);
  }

  async until(what: string, wanted: (event: StoreEvent) => boolean): Promise<StoreEvent> {
    return awaitCondition(what, () => this.last !== undefined && wanted(this.last) && this.last, patient);
  }

  async table(wanted: readonly string[]): Promise<void> {
    await this.until(`the table ${wanted.join(', ')}`, (event) => {
      return event.kind === 'leases' && event.leases.map(text).sort().join() === [...wanted].sort().join();
    });
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#following;
    await this.store.close();
  }
}

function text({ subnet, subnet6 }: Lease): string {
  return [subnet, subnet6].flatMap((cidr) => (cidr ? [formatCidr(cidr)] : [])).join(' ');
}

async function keys(etcd: EtcdCluster): Promise<readonly string[]> {
  const listed = await etcd.ctl(['get', '--prefix', subnets, '--keys-only']);
  return listed
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.slice(subnets.length));
}

async function leaseOf(etcd: EtcdCluster, key: string): Promise<string> {
  const answer = await etcd.ctl(['get', subnets + key, '-w', 'json']);
  return /"lease":(\d+)/.exec(answer)?.[1] ?? 'none';
}

t.test('twelve hosts at once, and one of both families among one-family keys', async (t) => {
  const etcd = await cluster(t);
  const got = await Promise.all(Array.from({ length: 12 }, (_, i) => new Host(t, etcd, i + 1).acquire()));
  t.equal(new Set(got).size, 12);
  const [first = ''] = got;
  const value = await etcd.ctl(['get', '--print-value-only', subnets + first.replace('/', '-')]);
  t.equal(
    value.trim(),
    '{"PublicIP":"192.168.64.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"0e:00:00:00:00:01"}}',
  );
  await etcd.ctl([
    'put',
    '/coreos.com/network/config',
    '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/48","Backend":{"Type":"vxlan"}}',
  ]);
  const dual = await new Host(t, etcd, 1).acquire({ publicIPv6: 'fd00::1' });
  t.ok(dual.startsWith(`${first} fd00:5:0:`), dual);
  t.equal((await keys(etcd)).length, 12, 'its key took the place of the other');
});

t.test('keys with a lease of a day; reservations without', async (t) => {
  const etcd = await cluster(t);
  await etcd.ctl(['put', `${subnets}10.5.40.0-24`, '{"PublicIP":"192.168.64.2"}']);
  const one = new Host(t, etcd, 1);
  const key = (await one.acquire()).replace('/', '-');
  const { entries } = await one.store.leases();
  t.ok((entries.find((entry) => entry.key === key)?.ttl ?? 0) > 86_300);
  const two = new Host(t, etcd, 2);
  t.equal(await two.acquire(), '10.5.40.0/24');
  t.equal(await leaseOf(etcd, '10.5.40.0-24'), 'none');
  t.equal(two.store.health().term, undefined);
});

t.test('garbage of others is a warning each', async (t) => {
  const etcd = await cluster(t);
  const one = new Host(t, etcd, 1);
  const mine = await one.acquire();
  one.follow();
  await one.table([mine]);
  for (const [key, value] of [
    ['nonsense', '{}'],
    ['10.5.203.0-24', 'not json'],
    ['10.5.204.0-24', '{"PublicIP":"1.2.3"}'],
    ['10.5.205.0-24/extra', '{}'],
  ] as const) {
    await etcd.ctl(['put', subnets + key, value]);
  }
  await etcd.ctl(['put', `${subnets}10.5.206.0-24`, '{"PublicIP":"192.168.64.6"}']);
  await one.table([mine, '10.5.206.0/24']);
  t.equal(one.last?.kind === 'leases' && one.last.warnings.length, 4);
});

t.test('a stolen key: theirs stays, and we get another', async (t) => {
  const etcd = await cluster(t);
  const one = new Host(t, etcd, 1, { ttl: 4 });
  const mine = await one.acquire();
  one.follow();
  await one.table([mine]);
  const key = mine.replace('/', '-');
  await etcd.ctl(['put', subnets + key, '{"PublicIP":"192.168.64.9"}']);
  await one.until(
    'the thief',
    (event) => event.kind === 'leases' && event.leases[0]?.attrs.publicIP === '192.168.64.9',
  );
  t.not(await one.acquire(), mine);
  t.match(await etcd.ctl(['get', '--print-value-only', subnets + key]), /192\.168\.64\.9/);
});

t.test('a public address that changes: the same key under the new one, whoever else has that', async (t) => {
  const etcd = await cluster(t);
  const [one, two] = [new Host(t, etcd, 1, { ttl: 4 }), new Host(t, etcd, 2, { ttl: 4 })];
  const held = [await one.store.acquire(one.want()), await two.store.acquire(two.want())] as const;
  const [key1, key2] = held.map((lease) => text(lease).replace('/', '-')) as [string, string];
  const holder = async (key: string): Promise<string | undefined> =>
    /"PublicIP":"([^"]*)"/.exec(await etcd.ctl(['get', '--print-value-only', subnets + key]))?.[1];
  const created = async (key: string): Promise<string | undefined> =>
    /"create_revision":(\d+)/.exec(await etcd.ctl(['get', subnets + key, '-w', 'json']))?.[1];
  const before = [await created(key1), await created(key2)];
  one.follow();
  await one.table([text(held[0]), text(held[1])]);

  // The two swap their addresses.
  await one.store.acquire(one.want({ publicIP: '192.168.64.2', held: held[0] }));
  t.same([await holder(key1), await holder(key2)], ['192.168.64.2', '192.168.64.2']);
  await two.store.acquire(two.want({ publicIP: '192.168.64.1', held: held[1] }));
  t.same([await holder(key1), await holder(key2)], ['192.168.64.2', '192.168.64.1']);
  const leases = new Set<string>();
  await awaitCondition(
    'three renewals',
    async () => {
      leases.add(await leaseOf(etcd, key1));
      return leases.size === 4;
    },
    patient,
  );
  t.same([await holder(key1), await holder(key2)], ['192.168.64.2', '192.168.64.1']);
  t.same([await created(key1), await created(key2)], before, 'the keys never went away');
  t.same([one.store.health().problems, two.store.health().problems], [[], []]);

  // A third takes the key over as flannel does, by its address; then it is not ours to publish again.
  const heir = new Host(t, etcd, 2);
  t.equal(await heir.acquire(), text(held[0]));
  const now = await one.store.acquire(
    one.want({
      publicIP: '192.168.64.3',
      held: { ...held[0], attrs: { publicIP: '192.168.64.2', publicIPv6: null } },
    }),
  );
  t.not(text(now), text(held[0]));
  t.equal(await holder(key1), '192.168.64.2');
});

t.test('renewed in time', async (t) => {
  const etcd = await cluster(t);
  const one = new Host(t, etcd, 1, { ttl: 2 });
  const key = (await one.acquire()).replace('/', '-');
  const created = /"create_revision":(\d+)/.exec(await etcd.ctl(['get', subnets + key, '-w', 'json']))?.[1];
  const leases = new Set<string>();
  await awaitCondition(
    'four renewals',
    async () => {
      leases.add(await leaseOf(etcd, key));
      return leases.size === 5;
    },
    patient,
  );
  t.notOk(leases.has('none'));
  const answer = await etcd.ctl(['get', subnets + key, '-w', 'json']);
  t.equal(/"create_revision":(\d+)/.exec(answer)?.[1], created, 'the key never went away');
});

t.test('the history is compacted away while the watch is cut: the table is read anew', async (t) => {
  const etcd = await cluster(t);
  const proxy = await TcpProxy.open(etcd.first.port);
  t.teardown(() => proxy.close());
  const one = new Host(t, etcd, 1, { endpoints: [`http://127.0.0.1:${proxy.port}`] });
  const mine = await one.acquire();
  one.follow();
  for (const number of [200, 201]) {
    await etcd.ctl(['put', `${subnets}10.5.${number}.0-24`, `{"PublicIP":"192.168.64.${number}"}`]);
  }
  await one.table([mine, '10.5.200.0/24', '10.5.201.0/24']);

  await proxy.refuse();
  await one.until('the loss', ({ kind }) => kind === 'unreadable');
  // A lease that comes, one that goes and one that changes: no event of these can be had any more.
  await etcd.ctl(['put', `${subnets}10.5.202.0-24`, '{"PublicIP":"192.168.64.202"}']);
  await etcd.ctl(['del', `${subnets}10.5.200.0-24`]);
  await etcd.ctl(['put', `${subnets}10.5.201.0-24`, '{"PublicIP":"192.168.64.99"}']);
  await etcd.ctl(['compact', String((await etcd.first.status()).revision)]);
  await proxy.accept();

  await one.table([mine, '10.5.201.0/24', '10.5.202.0/24']);
  const leases = one.last?.kind === 'leases' ? one.last.leases : [];
  t.equal(leases.find((lease) => text(lease) === '10.5.201.0/24')?.attrs.publicIP, '192.168.64.99');
  await etcd.ctl(['put', `${subnets}10.5.203.0-24`, '{"PublicIP":"192.168.64.203"}']);
  await one.table([mine, '10.5.201.0/24', '10.5.202.0/24', '10.5.203.0/24']);
});

t.test('etcd goes away, comes back, is wiped', async (t) => {
  const etcd = await cluster(t);
  const stateDir = mkdtempSync(path.join(tmpdir(), 'kersey-state-'));
  t.teardown(() => {
    rmSync(stateDir, { recursive: true, force: true });
  });
  const one = new Host(t, etcd, 1, { stateDir });
  await one.store.config();
  const mine = await one.acquire();
  one.follow();
  await etcd.ctl(['put', `${subnets}10.5.200.0-24`, '{"PublicIP":"192.168.64.200"}']);
  await one.table([mine, '10.5.200.0/24']);
  const value = await etcd.ctl(['get', '--print-value-only', subnets + mine.replace('/', '-')]);

  // Away when the host starts again.
  await etcd.first.stop('SIGKILL');
  await one.until('the loss', ({ kind }) => kind === 'unreadable');
  await one.end();

  const two = new Host(t, etcd, 1, { stateDir });
  t.match(await two.store.config(), { subnetLen: 24 }, 'from the snapshot');
  t.equal(await two.acquire(), mine);
  two.follow();
  await two.until('the loss', ({ kind }) => kind === 'unreadable');
  t.match(two.events[0], { kind: 'leases' });
  const before = await etcd.first.start().then(() => leaseOf(etcd, mine.replace('/', '-')));
  await two.table([mine, '10.5.200.0/24']);
  await awaitCondition(
    'the renewal',
    async () => (await leaseOf(etcd, mine.replace('/', '-'))) !== before || two.store.health().term,
    patient,
  );
  t.same(two.store.health().problems, []);

  await etcd.first.stop();
  await two.until('the loss', ({ kind }) => kind === 'unreadable');
  etcd.first.wipe();
  await etcd.first.start();
  await two.table([]);
  await t.rejects(two.acquire(), { code: 'CONFIG_MISSING' });
  await etcd.ctl(['put', '/coreos.com/network/config', config]);
  t.equal(await two.acquire({ previous: parseCidr(mine) }), mine);
  t.equal(
    await etcd.ctl(['get', '--print-value-only', subnets + mine.replace('/', '-')]),
    value,
    'unchanged',
  );
  await two.table([mine]);

  await etcd.ctl(['put', `${subnets}10.5.201.0-24`, '{"PublicIP":"192.168.64.201"}']);
  await two.table([mine, '10.5.201.0/24']);
});
