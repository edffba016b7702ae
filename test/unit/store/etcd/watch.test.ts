import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { KerseyError } from '../../../../src/errors.ts';
import { settled } from '../../../lib/memory-etcd.ts';
import { configKey, configText, directory, hour, subnets, world } from './host.ts';

const value = (number: number): string => `{"PublicIP":"10.0.${number >> 8}.${number & 255}"}`;
const keyOf = (number: number): string => `${subnets}10.5.${number}.0-24`;

void t.test('one change is told at once, many are told together', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  await one.acquire();
  await one.follow();
  t.equal(one.events.length, 1);
  await clock.pass(1000);
  etcd.put(keyOf(2), value(2));
  await settled();
  t.equal(one.events.length, 2, 'without any time passing');
  await clock.pass(1000);
  const before = one.events.length;
  for (let i = 3; i < 203; i++) etcd.put(keyOf(i), value(i));
  await clock.pass(1000);
  t.equal(one.told.length, 202);
  t.ok(one.events.length - before <= 2, `${one.events.length - before} tellings`);
});

void t.test('who has stopped already is told nothing, at once', async (t) => {
  const { host } = world(t);
  const { store } = host(1);
  t.same(await store.watch(AbortSignal.abort()).next(), { done: true, value: undefined });
});

void t.test("the operator's watch loses no lease because etcd went away", async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  etcd.put(keyOf(2), value(2), etcd.grant(100));
  one.client.timeToLive = () => Promise.reject(new KerseyError('STORE_UNREACHABLE', 'away'));
  const stop = new AbortController();
  const tables = one.store.watchLeases(stop.signal)[Symbol.asyncIterator]();
  t.match(await tables.next(), { value: { entries: [{ key: '10.5.2.0-24', ttl: 0 }], warnings: [] } });
  one.client.away = true;
  const lost = tables.next();
  await clock.pass(100);
  t.match(await lost, { value: { entries: [{ key: '10.5.2.0-24' }], warnings: [/STORE_UNREACHABLE/] } });
  stop.abort();
  t.ok((await tables.next()).done);
});

void t.test('what changes nothing is not told', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  await one.follow();
  etcd.put(keyOf(2), value(2), etcd.grant(100));
  await clock.pass(100);
  const before = one.events.length;
  etcd.put(keyOf(2), value(2), etcd.grant(100));
  etcd.put(`${subnets.slice(0, -1)}-other/10.5.9.0-24`, value(9));
  await clock.pass(100);
  t.equal(one.events.length, before);
});

void t.test('bad keys and values are a warning each and harm no other', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  await one.acquire();
  await one.follow();
  etcd.put(keyOf(2), value(2));
  await clock.pass(100);
  const garbage: readonly (readonly [string, string])[] = [
    ['nonsense', '{}'],
    ['10.5.3.0-24', 'not json'],
    ['10.5.4.0-24', '{"PublicIP":"1.2.3"}'],
    ['10.5.5.0-24', '{"PublicIP":null}'],
    ['10.5.6.0-24', '['.repeat(5000)],
    ['10.5.7.0-99', value(7)],
    ['10.5.8.0-24', ''],
    ['10.5.9.0-24', '\u0000\u001b[31m'],
  ];
  for (const [key, text] of garbage) etcd.put(subnets + key, text);
  await clock.pass(100);
  t.same(one.told, ['10.5.1.0/24', '10.5.2.0/24']);
  t.equal(one.last?.kind === 'leases' && one.last.warnings.length, garbage.length);
  for (const [key] of garbage) etcd.delete(subnets + key);
  await clock.pass(100);
  t.match(one.last, { warnings: [] });
});

void t.test('of two that overlap the older stays, and ours in any case', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  etcd.put(`${subnets}10.5.128.0-17`, value(5));
  await one.acquire();
  etcd.put(`${subnets}10.5.200.0-24`, value(6));
  etcd.put(`${subnets}10.5.0.0-20`, value(7));
  await one.follow();
  await clock.pass(100);
  t.same(one.told, ['10.5.128.0/17', '10.5.1.0/24']);
  t.equal(one.last?.kind === 'leases' && one.last.warnings.length, 2);
});

void t.test('compaction while the watch is cut: nothing is missed', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  etcd.put(keyOf(2), value(2));
  await one.acquire();
  await one.follow();
  one.client.away = true;
  await clock.pass(100);
  t.match(one.last, { kind: 'unreadable', error: { code: 'STORE_UNREACHABLE' } });
  etcd.delete(keyOf(2));
  etcd.put(keyOf(3), value(3));
  etcd.put(keyOf(4), value(4));
  etcd.compact();
  one.client.away = false;
  await clock.pass(15_000);
  t.same(one.told, ['10.5.1.0/24', '10.5.3.0/24', '10.5.4.0/24']);
  etcd.put(keyOf(5), value(5));
  await clock.pass(100);
  t.equal(one.told.length, 4, 'and it goes on');
});

void t.test('an hour without etcd is told once and costs few questions', async (t) => {
  const { host, clock } = world(t);
  const one = host(1);
  await one.acquire();
  await one.follow();
  one.client.away = true;
  one.client.calls = 0;
  await clock.pass(hour);
  t.equal(one.events.filter(({ kind }) => kind === 'unreadable').length, 1);
  t.ok(one.client.calls < 500, `${one.client.calls} calls`);
});

void t.test('a start from the snapshot, and what comes of it', async (t) => {
  const stateDir = directory(t);
  const { etcd, host, clock } = world(t);
  etcd.put(keyOf(2), value(2));
  const first = host(1, { stateDir });
  await first.store.config();
  await first.acquire();
  await first.follow();
  await first.end();
  const [file = ''] = readdirSync(stateDir);
  t.equal(statSync(path.join(stateDir, file)).mode & 0o777, 0o600);

  const second = host(1, { stateDir });
  second.client.away = true;
  t.match(await second.store.config(), { subnetLen: 24 });
  t.equal(await second.acquire(), '10.5.1.0/24');
  await second.follow();
  t.match(second.events[0], { kind: 'leases' });
  t.same(second.told, ['10.5.2.0/24', '10.5.1.0/24']);
  await clock.pass(1000);
  t.match(second.last, { kind: 'unreadable' });

  const left = etcd.keys.get(keyOf(1))?.lease;
  second.client.away = false;
  await clock.pass(15_000);
  t.match(second.last, { kind: 'leases' });
  t.not(etcd.keys.get(keyOf(1))?.lease, left, 'the lease is renewed at once');
  t.same(second.problems, []);
  await second.end();

  // Meanwhile it goes to another.
  const third = host(1, { stateDir });
  third.client.away = true;
  await third.store.config();
  t.equal(await third.acquire(), '10.5.1.0/24');
  await third.follow();
  etcd.put(keyOf(1), value(77), etcd.grant(1000));
  third.client.away = false;
  await clock.pass(15_000);
  t.match(third.last, { kind: 'leases' });
  t.equal(etcd.keys.get(keyOf(1))?.value, value(77), 'theirs stays');
  t.equal(await third.acquire(), '10.5.3.0/24');
});

void t.test('a snapshot of another store, or a damaged one, is none', async (t) => {
  const stateDir = directory(t);
  const { host } = world(t);
  const first = host(1, { stateDir });
  await first.store.config();
  await first.acquire();
  await first.follow();
  await first.end();
  const away = async (options: object): Promise<void> => {
    const other = host(1, { stateDir, ...options });
    other.client.away = true;
    await t.rejects(other.store.config(), { code: 'STORE_UNREACHABLE' });
  };
  await away({ endpoints: ['http://elsewhere:2379'] });
  await away({ prefix: '/other' });
  const partly = host(1, { stateDir, endpoints: ['http://new:2379', 'http://model:2379'] });
  partly.client.away = true;
  t.ok(await partly.store.config(), 'a member that stayed will do');
  const [name = ''] = readdirSync(stateDir);
  const file = path.join(stateDir, name);
  writeFileSync(file, readFileSync(file, 'utf8').slice(0, -20));
  await away({});
});

void t.test('a snapshot without a lease of ours is no start', async (t) => {
  const stateDir = directory(t);
  const { host } = world(t);
  const first = host(1, { stateDir });
  await first.store.config();
  await first.acquire();
  await first.follow();
  await first.end();
  const other = host(2, { stateDir });
  other.client.away = true;
  await other.store.config();
  await t.rejects(other.acquire(), { code: 'STORE_UNREACHABLE' });
});

void t.test('a snapshot that cannot be written is a warning', async (t) => {
  const file = path.join(directory(t), 'file');
  writeFileSync(file, '');
  for (const stateDir of [path.join(file, 'state'), '/proc/kersey/state']) {
    const { host } = world(t);
    const one = host(1, { stateDir });
    await one.store.config();
    await one.acquire();
    await one.follow();
    for (let i = 0; i < 100 && one.store.health().warnings.length === 0; i++) await settled();
    t.match(one.store.health().warnings, [/snapshot .* cannot be written/], stateDir);
  }
});

void t.test("the operator's side", async (t) => {
  const { etcd, host, clock } = world(t);
  const { store } = host(1);
  t.equal(await store.configText(), configText);
  await t.rejects(store.setConfig('x', 'something else'), { code: 'STORE_CONFLICT' });
  await store.setConfig('new', configText);
  t.equal(etcd.keys.get(configKey)?.value, 'new');

  const one = host(1);
  etcd.put(configKey, configText);
  await one.acquire();
  const attrs = { publicIP: '192.168.64.1', publicIPv6: null };
  const subnet = { family: 4, base: 0x0a050100n, length: 24 } as const;
  await clock.pass(400);
  t.match(await store.leases(), { entries: [{ key: '10.5.1.0-24', ttl: 86_400 }], warnings: [] });
  await t.rejects(store.reserve({ subnet, subnet6: undefined }, { ...attrs, publicIP: '192.168.64.9' }), {
    code: 'SUBNET_OVERLAP',
  });
  const within = { ...subnet, length: 25 };
  await t.rejects(store.reserve({ subnet: within, subnet6: undefined }, attrs), { code: 'SUBNET_OVERLAP' });
  const before = etcd.keys.get(keyOf(1))?.value;
  await store.reserve({ subnet, subnet6: undefined }, attrs);
  t.equal(etcd.keys.get(keyOf(1))?.lease, 0n, 'the lease it holds becomes a reservation');
  t.equal(etcd.keys.get(keyOf(1))?.value, before);
  t.match(await store.leases(), { entries: [{ ttl: undefined }] });
  t.ok(await store.release({ subnet, subnet6: undefined }));
  t.notOk(await store.release({ subnet, subnet6: undefined }));
  await store.reserve({ subnet, subnet6: undefined }, { ...attrs, publicIP: '192.168.64.9' });
  t.equal(etcd.keys.get(keyOf(1))?.value, '{"PublicIP":"192.168.64.9","PublicIPv6":null}');
});
