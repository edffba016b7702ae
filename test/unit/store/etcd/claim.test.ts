import t from 'tap';
import { parseCidr } from '../../../../src/net/cidr.ts';
import { configKey, configText, subnets, world } from './host.ts';

const valueOf = (number: number): string =>
  `{"PublicIP":"192.168.64.${number}","PublicIPv6":null,"BackendType":"vxlan",` +
  `"BackendData":{"VNI":1,"VtepMAC":"0e:00:00:00:00:0${number}"}}`;

void t.test("a new host: flannel's key and value, with a lease of a day", async (t) => {
  const { etcd, host } = world(t);
  t.equal(await host(1).acquire(), '10.5.1.0/24');
  const kv = etcd.keys.get(`${subnets}10.5.1.0-24`);
  t.equal(kv?.value, valueOf(1));
  t.equal(etcd.secondsLeft(kv?.lease ?? 0n), 86_400);
  t.equal(etcd.leases.size, 1);
});

void t.test('a backend without a name or without data has none in its lease', async (t) => {
  const { etcd, host } = world(t);
  await host(1).acquire({ backendType: undefined, backendData: () => undefined });
  t.equal(etcd.keys.get(`${subnets}10.5.1.0-24`)?.value, '{"PublicIP":"192.168.64.1","PublicIPv6":null}');
  await host(2).acquire({ backendType: 'host-gw', backendData: undefined });
  t.match(etcd.keys.get(`${subnets}10.5.2.0-24`)?.value, /,"BackendType":"host-gw"}$/);
});

void t.test('the public address first, then the previous subnet, then a free one', async (t) => {
  const { etcd, host } = world(t);
  etcd.put(`${subnets}10.5.7.0-24`, valueOf(1), etcd.grant(100));
  etcd.put(`${subnets}10.5.8.0-24`, valueOf(9), etcd.grant(100));
  t.equal(await host(1).acquire({ previous: parseCidr('10.5.9.0/24') }), '10.5.7.0/24');
  t.equal(
    etcd.secondsLeft(etcd.keys.get(`${subnets}10.5.7.0-24`)?.lease ?? 0n),
    86_400,
    'with a fresh lease',
  );
  t.equal(await host(2).acquire({ previous: parseCidr('10.5.9.0/24') }), '10.5.9.0/24');
  t.equal(await host(3).acquire({ previous: parseCidr('10.5.8.0/24') }), '10.5.1.0/24');
});

void t.test('a subnet that another claims between reading and writing is not taken', async (t) => {
  for (const [key, value] of [
    ['10.5.1.0-24', valueOf(9)],
    ['10.5.0.0-23', valueOf(9)],
    ['10.5.1.128-25', valueOf(9)],
    ['10.5.1.0-24&fd00:5::-64', valueOf(9)],
    ['10.5.1.0-24', 'garbage'],
  ] as const) {
    const { etcd, host, clock } = world(t);
    const one = host(1);
    one.client.before = () => {
      etcd.put(subnets + key, value, etcd.grant(1000));
    };
    const claimed = one.acquire();
    await clock.pass(100);
    t.equal(await claimed, '10.5.2.0/24', key);
    t.equal(etcd.keys.get(subnets + key)?.value, value, 'theirs is untouched');
    t.equal(etcd.leases.size, 2, 'no lease is left over');
  }
});

void t.test('what does not overlap disturbs nobody', async (t) => {
  for (const [key, value] of [
    ['10.5.0.0-24', valueOf(9)],
    ['10.5.2.0-23', valueOf(9)],
    ['10.5.10.0-24', valueOf(9)],
    ['nonsense', 'garbage'],
  ] as const) {
    const { etcd, host } = world(t);
    const one = host(1);
    one.client.before = () => {
      etcd.put(subnets + key, value, etcd.grant(1000));
    };
    t.equal(await one.acquire(), '10.5.1.0/24', key);
    t.equal(etcd.revision, 4n, 'at the first try');
  }
});

void t.test('an IPv6 subnet that another claims under another IPv4 subnet is not taken', async (t) => {
  const dual =
    '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/48","Backend":{"Type":"vxlan"}}';
  const { etcd, host, clock } = world(t, dual);
  const one = host(1);
  one.client.before = () => {
    etcd.put(`${subnets}10.5.99.0-24&fd00:5:0:1::-64`, valueOf(9), etcd.grant(1000));
  };
  const claimed = one.acquire({ publicIPv6: 'fd00::1' });
  await clock.pass(100);
  t.equal(await claimed, '10.5.1.0/24 fd00:5:0:2::/64');
});

void t.test('stopped in the middle: no new key stays, and one that was kept does', async (t) => {
  const { etcd, host } = world(t);
  const one = host(1);
  const stoppedClaim = async (): Promise<void> => {
    const stop = new AbortController();
    one.client.before = () => {
      stop.abort(new Error('stopped'));
    };
    await t.rejects(one.store.acquire(one.want(), stop.signal), { message: 'stopped' });
  };
  await stoppedClaim();
  t.same([...etcd.keys.keys()], [configKey]);
  t.equal(etcd.leases.size, 0);
  await one.acquire();
  await stoppedClaim();
  t.ok(etcd.keys.has(`${subnets}10.5.1.0-24`));
});

void t.test('twenty hosts at once get twenty subnets', async (t) => {
  const { etcd, host, clock } = world(t);
  const claims = Array.from({ length: 20 }, (_, i) => host(i + 1, { random: Math.random }).acquire());
  const all = Promise.all(claims);
  await clock.pass(30_000);
  t.equal(new Set(await all).size, 20);
  t.equal(etcd.leases.size, 20);
});

void t.test('who loses every race says so in the end, and leaves no lease behind', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1, { patience: 1000, random: () => 0.999 });
  let spaces = 0;
  const interfere = (): void => {
    etcd.put(configKey, configText + ' '.repeat(++spaces));
    one.client.before = interfere;
  };
  one.client.before = interfere;
  const claimed = t.rejects(one.acquire(), { code: 'STORE_CONFLICT' });
  await clock.pass(10_000);
  await claimed;
  t.equal(etcd.leases.size, 0);
});

void t.test('the answer of a transaction is lost', async (t) => {
  for (const mishap of ['answer lost', 'request lost'] as const) {
    const { etcd, host, clock } = world(t);
    const one = host(1);
    one.client.mishap = mishap;
    const claimed = one.acquire();
    await clock.pass(1000);
    t.equal(await claimed, '10.5.1.0/24', mishap);
    t.equal([...etcd.keys.keys()].filter((key) => key.startsWith(subnets)).length, 1);
    t.equal(etcd.leases.size, 1);
    t.ok(one.store.health().term);
  }
});

void t.test('a request that arrives after it was given up changes nothing', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  one.client.mishap = 'request delayed';
  const claimed = one.acquire();
  await clock.pass(1000);
  t.equal(await claimed, '10.5.1.0/24');
  const before = etcd.revision;
  one.client.deliver();
  t.equal(etcd.revision, before);
});

void t.test('a reservation stays one', async (t) => {
  const { etcd, host } = world(t);
  etcd.put(`${subnets}10.5.40.0-24`, '{"PublicIP":"192.168.64.1"}');
  const one = host(1);
  t.equal(await one.acquire(), '10.5.40.0/24');
  t.equal(etcd.keys.get(`${subnets}10.5.40.0-24`)?.value, valueOf(1));
  t.equal(etcd.keys.get(`${subnets}10.5.40.0-24`)?.lease, 0n);
  t.equal(etcd.leases.size, 0);
  t.equal(one.store.health().term, undefined);
  const before = etcd.revision;
  t.equal(await one.acquire(), '10.5.40.0/24');
  t.equal(etcd.revision, before, 'and is not written again');
});

void t.test('a reservation goes before a lease, and one outside the pool is left alone', async (t) => {
  const { etcd, host } = world(t);
  etcd.put(`${subnets}10.5.7.0-24`, valueOf(1), etcd.grant(100));
  etcd.put(`${subnets}10.5.40.0-24`, '{"PublicIP":"192.168.64.1"}');
  t.equal(await host(1).acquire(), '10.5.40.0/24');
  etcd.put(`${subnets}10.5.0.0-20`, '{"PublicIP":"192.168.64.2"}');
  t.equal(await host(2).acquire(), '10.5.16.0/24', 'nothing inside it is given out');
  t.ok(etcd.keys.has(`${subnets}10.5.0.0-20`));
});

void t.test('both families, and a host that gains one', async (t) => {
  const { etcd, host } = world(t);
  const dual =
    '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/48","Backend":{"Type":"vxlan"}}';
  const one = host(1);
  await one.acquire();
  etcd.put(configKey, dual);
  t.equal(await one.acquire({ publicIPv6: 'fd00::1' }), '10.5.1.0/24 fd00:5:0:1::/64');
  t.same(
    [...etcd.keys.keys()].filter((key) => key.startsWith(subnets)),
    [`${subnets}10.5.1.0-24&fd00:5:0:1::-64`],
    'one key in the place of the other',
  );
});

void t.test('a config that changes under the claim is read again', async (t) => {
  const { etcd, host, clock } = world(t);
  const one = host(1);
  one.client.before = () => {
    etcd.put(configKey, configText.replace('10.5.', '10.6.'));
  };
  const claimed = one.acquire();
  await clock.pass(100);
  t.equal(await claimed, '10.6.1.0/24');
});

void t.test('nothing is free', async (t) => {
  const { etcd, host } = world(t, configText.replace('/16', '/28'));
  etcd.put(`${subnets}10.5.0.0-28`, valueOf(9));
  await t.rejects(host(1).acquire(), {
    code: 'SUBNETS_EXHAUSTED',
    message: 'every /30 subnet of 10.5.0.0/28 from 10.5.0.4 to 10.5.0.12 is taken (subnets: 3, leases: 1)',
  });
  t.equal(etcd.leases.size, 0);
});

void t.test('no config, and none that can be read', async (t) => {
  const { etcd, host } = world(t);
  const { store } = host(1);
  etcd.delete(configKey);
  await t.rejects(store.config(), { code: 'CONFIG_MISSING' });
  etcd.put(configKey, '{"Network":');
  await t.rejects(store.config(), { code: 'CONFIG_INVALID', message: /config: line 1, column 12/ });
  etcd.put(configKey, configText);
  t.match(await store.config(), { subnetLen: 24 });
});
