import t from 'tap';
import { configKey, hour, subnets, world } from './host.ts';

const key = `${subnets}10.5.1.0-24`;

void t.test('renewed an hour before its end, with a fresh lease and the same value', async (t) => {
  const { etcd, host, clock } = world(t);
  await host(1).acquire();
  const [first] = etcd.leases.keys();
  const before = etcd.keys.get(key);
  await clock.pass(23 * hour - 1);
  t.equal(etcd.keys.get(key)?.lease, first);
  await clock.pass(1);
  t.not(etcd.keys.get(key)?.lease, first);
  t.equal(etcd.keys.get(key)?.value, before?.value);
  t.equal(etcd.secondsLeft(etcd.keys.get(key)?.lease ?? 0n), 86_400);
  await clock.pass(10 * 24 * hour);
  t.equal(etcd.keys.get(key)?.createRevision, before?.createRevision, 'it never went away');
});

void t.test("the margin is the operator's, and the status says when", async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1, { renewMargin: 10 });
  const { store } = one;
  await one.acquire();
  const first = etcd.keys.get(key)?.lease;
  const { term } = store.health();
  t.equal((term?.expires.getTime() ?? 0) - (term?.renewal.getTime() ?? 0), 600_000);
  await clock.pass(23.5 * hour);
  t.equal(etcd.keys.get(key)?.lease, first);
  await clock.pass(hour / 2);
  t.not(etcd.keys.get(key)?.lease, first);
});

void t.test('etcd is away when the renewal is due', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  await one.acquire();
  one.client.away = true;
  one.client.calls = 0;
  await clock.pass(23 * hour + 20 * 60_000);
  t.ok(one.client.calls > 3 && one.client.calls < 60, `${one.client.calls} tries in twenty minutes`);
  t.match(one.store.health().problems, [{ code: 'STORE_UNREACHABLE', message: /could not be renewed/ }]);
  one.client.away = false;
  await clock.pass(60_000);
  t.same(one.problems, []);
  t.ok((etcd.secondsLeft(etcd.keys.get(key)?.lease ?? 0n) ?? 0) >= 86_340, 'within a minute');
});

void t.test('the answer to a renewal is lost, or its request comes late', async (t) => {
  for (const mishap of ['answer lost', 'request lost', 'request delayed'] as const) {
    const { etcd, host, clock } = world(t);
    const one = host(1);
    await one.acquire();
    await one.follow();
    const created = etcd.keys.get(key)?.createRevision;
    one.client.mishap = mishap;
    await clock.pass(23 * hour);
    one.client.deliver();
    await clock.pass(2 * hour);
    const kv = etcd.keys.get(key);
    t.equal(kv?.createRevision, created, `${mishap}: it never went away`);
    t.ok((etcd.secondsLeft(kv?.lease ?? 0n) ?? 0) > 21 * 3600, 'and was renewed');
    t.same(one.problems, []);
  }
});

void t.test('a renewal that etcd refuses is a problem, and leaves no lease behind', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  await one.acquire();
  one.client.mishap = 'refused';
  await clock.pass(23 * hour);
  t.same(one.problems, ['STORE_REFUSED']);
  t.equal(etcd.leases.size, 1);
  await clock.pass(60_000);
  t.same(one.problems, []);
});

void t.test('a node that slept past the end of its lease writes over nobody', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  await one.acquire();
  await one.follow();
  one.client.away = true;
  await clock.pass(25 * hour);
  etcd.expire();
  t.equal(await host(2).acquire(), '10.5.1.0/24', 'the subnet is given to another');
  const theirs = etcd.keys.get(key);
  one.client.away = false;
  await clock.pass(30_000);
  t.same(etcd.keys.get(key), theirs);
  t.same(one.told, ['10.5.1.0/24']);
  t.match(one.last, { kind: 'leases', leases: [{ attrs: { publicIP: '192.168.64.2' } }] });
  t.equal(await one.acquire(), '10.5.2.0/24');
});

void t.test('a lease that was deleted, revoked or expired is claimed again by acquire', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  await one.acquire();
  await one.follow();
  etcd.delete(key);
  await clock.pass(100);
  t.same(one.told, []);
  t.equal(await one.acquire(), '10.5.1.0/24');
  etcd.revoke(etcd.keys.get(key)?.lease ?? 0n);
  t.equal(await one.acquire(), '10.5.1.0/24');
});

void t.test('another daemon with our public address is named, not fought', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  await one.acquire();
  await one.follow();
  const foreign = etcd.grant(86_400);
  const theirs =
    '{"PublicIP":"192.168.64.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1}}';
  etcd.put(key, theirs, foreign);
  await clock.pass(100);
  t.ok(one.store.health().disputed);
  t.match(one.store.health().problems, [
    { code: 'STORE_CONFLICT', message: /10\.5\.1\.0-24 .*192\.168\.64\.1/ },
  ]);
  await clock.pass(22 * hour);
  t.equal(etcd.keys.get(key)?.value, theirs, 'nothing is written over it');
  // It ends without renewing: then the subnet is not to be lost.
  await clock.pass(2 * hour - 200);
  t.match(etcd.keys.get(key)?.value, /VtepMAC/);
  t.notOk(one.store.health().disputed);
  t.same(one.problems, []);
});

void t.test("the same value with another's lease is a second daemon, too", async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  await one.acquire();
  await one.follow();
  const twin = host(1);
  await twin.acquire();
  await clock.pass(100);
  t.same(one.problems, ['STORE_CONFLICT']);
  t.same(twin.problems, []);
  await clock.pass(48 * hour);
  t.ok(etcd.keys.has(key), 'one of them renews');
});

void t.test('an operator makes it a reservation, and edits it', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  await one.acquire();
  await one.follow();
  const edited = etcd.keys.get(key)?.value.replace('0e:00:00:00:00:01', '0e:00:00:00:00:77') ?? '';
  etcd.put(key, edited);
  await clock.pass(100);
  t.same(one.problems, []);
  t.match(one.last, { leases: [{ attrs: { backendData: { VtepMAC: '0e:00:00:00:00:77' } } }] });
  await clock.pass(100 * hour);
  t.equal(etcd.keys.get(key)?.lease, 0n);
  t.equal(etcd.keys.get(key)?.value, edited);
});

void t.test('a value that names nobody in our place is put right by acquire', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  await one.acquire();
  await one.follow();
  etcd.put(key, 'garbage', etcd.grant(100));
  await clock.pass(100);
  t.same(one.told, []);
  t.equal(await one.acquire(), '10.5.1.0/24');
  t.match(etcd.keys.get(key)?.value, /192\.168\.64\.1/);
});

void t.test('a wiped store gets the lease again, once the config is there', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  await one.acquire();
  await one.follow();
  const { value } = etcd.keys.get(key) ?? {};
  one.client.away = true;
  await clock.pass(1000);
  const text = etcd.keys.get(configKey)?.value ?? '';
  etcd.wipe();
  one.client.away = false;
  await clock.pass(10_000);
  t.match(one.last, { kind: 'leases', leases: [] });
  await t.rejects(one.acquire(), { code: 'CONFIG_MISSING' });
  etcd.put(configKey, text);
  t.equal(await one.acquire(), '10.5.1.0/24');
  t.equal(etcd.keys.get(key)?.value, value);
});
