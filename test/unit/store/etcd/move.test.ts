// A host whose public address changes while it runs keeps its subnet, unless that is another's by now.

import fc from 'fast-check';
import t from 'tap';
import type { Lease } from '../../../../src/store/lease.ts';
import { configKey, hour, subnets, subnetText, world } from './host.ts';
import type { MemoryHost, World } from './host.ts';

const key = `${subnets}10.5.1.0-24`;
const newIp = '192.168.64.77';

const valueOf = (publicIP: string, mac = '0e:00:00:00:00:01'): string =>
  `{"PublicIP":"${publicIP}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`;

const rows = ({ etcd }: World): string[] =>
  [...etcd.keys.values()]
    .filter((kv) => kv.key !== configKey)
    .map((kv) => `${kv.key.slice(subnets.length)} ${/"PublicIP":"([^"]*)"/.exec(kv.value)?.[1] ?? '-'}`)
    .sort();

async function begin(one: MemoryHost): Promise<Lease> {
  const held = await one.store.acquire(one.want());
  await one.follow();
  return held;
}

void t.test('the same key under the new address, and renewed with it', async (t) => {
  const w = world(t);
  const one = w.host(1);
  const held = await begin(one);
  const created = w.etcd.keys.get(key)?.createRevision;
  const now = await one.store.acquire(one.want({ publicIP: newIp, held }));
  t.equal(subnetText(now), '10.5.1.0/24');
  t.equal(now.attrs.publicIP, newIp);
  t.equal(w.etcd.keys.get(key)?.value, valueOf(newIp), 'the VTEP keeps its MAC address');
  t.equal(w.etcd.keys.get(key)?.createRevision, created, 'it never went away');
  await w.clock.pass(100);
  t.match(one.last, { leases: [{ attrs: { publicIP: newIp } }] });
  t.same(one.problems, []);
  const lease = w.etcd.keys.get(key)?.lease;
  await w.clock.pass(10 * 24 * hour);
  t.not(w.etcd.keys.get(key)?.lease, lease, 'renewed');
  t.equal(w.etcd.keys.get(key)?.value, valueOf(newIp));
  t.equal(w.etcd.keys.get(key)?.createRevision, created);
  t.same(one.problems, []);
});

void t.test('an address that is as it was is no change', async (t) => {
  const w = world(t);
  const one = w.host(1);
  const held = await begin(one);
  t.equal(await one.acquire({ held }), '10.5.1.0/24');
  t.same(rows(w), ['10.5.1.0-24 192.168.64.1']);
});

void t.test('two hosts that swap their addresses swap no subnets', async (t) => {
  const w = world(t);
  const [one, two] = [w.host(1), w.host(2)];
  const [held1, held2] = [await begin(one), await begin(two)];
  t.equal(await one.acquire({ publicIP: two.address, held: held1 }), '10.5.1.0/24');
  t.same(rows(w), ['10.5.1.0-24 192.168.64.2', '10.5.2.0-24 192.168.64.2'], 'the other entry is left alone');
  await w.clock.pass(100);
  t.same([one.problems, two.problems], [[], []]);
  t.equal(await two.acquire({ publicIP: one.address, held: held2 }), '10.5.2.0/24');
  t.same(rows(w), ['10.5.1.0-24 192.168.64.2', '10.5.2.0-24 192.168.64.1']);
  await w.clock.pass(48 * hour);
  w.etcd.expire();
  t.same(rows(w), ['10.5.1.0-24 192.168.64.2', '10.5.2.0-24 192.168.64.1'], 'both are renewed');
});

void t.test('after a start, of two entries with our address the previous subnet is ours', async (t) => {
  const w = world(t);
  w.etcd.put(`${subnets}10.5.9.0-24`, valueOf(newIp, '0e:00:00:00:00:99'), w.etcd.grant(86_400));
  const one = w.host(1);
  const held = await begin(one);
  await one.acquire({ publicIP: newIp, held });
  t.same(rows(w), [`10.5.1.0-24 ${newIp}`, `10.5.9.0-24 ${newIp}`]);
  const again = w.host(1);
  t.equal(await again.acquire({ publicIP: newIp, previous: held.subnet }), '10.5.1.0/24');
});

void t.test('whoever got our old address and took the key over keeps it', async (t) => {
  const w = world(t);
  const one = w.host(1);
  const held = await begin(one);
  const heir = w.host(1);
  t.equal(await heir.acquire(), '10.5.1.0/24', 'a lease is known by its address');
  const theirs = w.etcd.keys.get(key);
  t.equal(await one.acquire({ publicIP: newIp, held }), '10.5.2.0/24');
  t.same(w.etcd.keys.get(key), theirs);
  // The same with the watch behind: nothing of it was seen yet.
  const late = world(t);
  const blind = late.host(1);
  const lease = await blind.store.acquire(blind.want());
  await late.host(1).acquire();
  t.equal(await blind.acquire({ publicIP: newIp, held: lease }), '10.5.2.0/24');
});

void t.test('the key changes hands between reading and writing', async (t) => {
  const w = world(t);
  const one = w.host(1);
  const held = await begin(one);
  one.client.before = () => {
    w.etcd.put(key, valueOf('192.168.64.9'), w.etcd.grant(1000));
  };
  const claimed = one.acquire({ publicIP: newIp, held });
  await w.clock.pass(100);
  t.equal(await claimed, '10.5.2.0/24');
  t.same(rows(w), ['10.5.1.0-24 192.168.64.9', `10.5.2.0-24 ${newIp}`]);
  t.equal(w.etcd.leases.size, 3, 'ours, the empty one of the first write, and theirs');
});

void t.test(
  'a key that is gone is made again; an entry of another with our address is not taken',
  async (t) => {
    const w = world(t);
    const one = w.host(1);
    const held = await begin(one);
    w.etcd.put(`${subnets}10.5.9.0-24`, valueOf(newIp), w.etcd.grant(1000));
    w.etcd.delete(key);
    await w.clock.pass(100);
    t.equal(await one.acquire({ publicIP: newIp, held }), '10.5.1.0/24');
    t.same(rows(w), [`10.5.1.0-24 ${newIp}`, `10.5.9.0-24 ${newIp}`]);
  },
);

void t.test(
  'our own value in the name of another lease is another daemon, even if it is just written',
  async (t) => {
    const w = world(t);
    const one = w.host(1);
    const held = await begin(one);
    one.client.before = () => {
      w.etcd.put(key, valueOf(one.address), w.etcd.grant(86_400));
    };
    const claimed = one.acquire({ publicIP: newIp, held });
    await w.clock.pass(100);
    t.equal(await claimed, '10.5.2.0/24');
    t.same(rows(w), ['10.5.1.0-24 192.168.64.1', `10.5.2.0-24 ${newIp}`]);
  },
);

void t.test('a renewal that is due in the same moment does no harm', async (t) => {
  const w = world(t);
  const one = w.host(1);
  const held = await begin(one);
  await w.clock.pass(23 * hour - 1);
  const moved = one.acquire({ publicIP: newIp, held });
  await w.clock.pass(1000);
  t.equal(await moved, '10.5.1.0/24');
  await w.clock.pass(48 * hour);
  t.equal(w.etcd.keys.get(key)?.value, valueOf(newIp));
  t.same(one.problems, []);
});

void t.test('the answer is lost, the request is, or it comes late', async (t) => {
  for (const mishap of ['answer lost', 'request lost', 'request delayed'] as const) {
    const w = world(t);
    const one = w.host(1);
    const held = await begin(one);
    const created = w.etcd.keys.get(key)?.createRevision;
    one.client.mishap = mishap;
    const claimed = one.acquire({ publicIP: newIp, held });
    await w.clock.pass(1000);
    one.client.deliver();
    t.equal(await claimed, '10.5.1.0/24', mishap);
    await w.clock.pass(48 * hour);
    t.equal(w.etcd.keys.get(key)?.value, valueOf(newIp));
    t.equal(w.etcd.keys.get(key)?.createRevision, created, 'it never went away');
    t.same(one.problems, []);
    t.same(rows(w), [`10.5.1.0-24 ${newIp}`]);
  }
});

void t.test(
  'etcd goes away with the answer: the next try finds out, and until then nothing is given up',
  async (t) => {
    const w = world(t);
    const one = w.host(1);
    const held = await begin(one);
    const created = w.etcd.keys.get(key)?.createRevision;
    one.client.mishap = 'answer lost';
    one.client.before = () => {
      one.client.away = true;
    };
    await t.rejects(one.store.acquire(one.want({ publicIP: newIp, held })), { code: 'STORE_UNREACHABLE' });
    t.equal(w.etcd.keys.get(key)?.value, valueOf(newIp), 'it was done');
    await t.rejects(
      one.store.acquire(one.want({ publicIP: newIp, held })),
      { code: 'STORE_UNREACHABLE' },
      'nothing is published from memory',
    );
    one.client.away = false;
    await w.clock.pass(1000);
    t.equal(await one.acquire({ publicIP: newIp, held }), '10.5.1.0/24');
    await w.clock.pass(48 * hour);
    t.equal(w.etcd.keys.get(key)?.createRevision, created, 'it never went away');
    t.same(one.problems, []);
  },
);

void t.test('the same without a second try: the keeper goes on with what was written', async (t) => {
  const w = world(t);
  const one = w.host(1);
  const held = await begin(one);
  one.client.mishap = 'answer lost';
  one.client.before = () => {
    one.client.away = true;
  };
  await t.rejects(one.store.acquire(one.want({ publicIP: newIp, held })));
  one.client.away = false;
  await w.clock.pass(48 * hour);
  w.etcd.expire();
  t.same(rows(w), [`10.5.1.0-24 ${newIp}`]);
  t.same(one.problems, []);
});

void t.test('the second try finds out without the watch, too', async (t) => {
  const w = world(t);
  const one = w.host(1);
  const held = await one.store.acquire(one.want());
  one.client.mishap = 'answer lost';
  one.client.before = () => {
    one.client.away = true;
  };
  await t.rejects(one.store.acquire(one.want({ publicIP: newIp, held })));
  one.client.away = false;
  t.equal(await one.acquire({ publicIP: newIp, held }), '10.5.1.0/24');
  t.same(rows(w), [`10.5.1.0-24 ${newIp}`]);
});

void t.test('nothing is published from memory, nor is what another has there taken', async (t) => {
  const w = world(t);
  const one = w.host(1);
  await one.store.config();
  const held = await begin(one);
  w.etcd.put(`${subnets}10.5.9.0-24`, valueOf(newIp), w.etcd.grant(86_400));
  await w.clock.pass(100);
  one.client.away = true;
  await one.store.config();
  await t.rejects(one.store.acquire(one.want({ publicIP: newIp, held })), { code: 'STORE_UNREACHABLE' });
  one.client.away = false;
  await w.clock.pass(1000);
  t.equal(await one.acquire({ publicIP: newIp, held }), '10.5.1.0/24');
  t.same(rows(w), [`10.5.1.0-24 ${newIp}`, `10.5.9.0-24 ${newIp}`]);
});

void t.test('after many renewals that failed the last write is still known for ours', async (t) => {
  const w = world(t);
  const one = w.host(1, { renewMargin: 600 });
  const held = await begin(one);
  const refuse = (): void => {
    one.client.mishap = 'refused';
    one.client.before = refuse;
  };
  refuse();
  await w.clock.pass(23 * hour);
  t.same(one.problems, ['STORE_REFUSED']);
  [one.client.mishap, one.client.before] = [undefined, undefined];
  t.equal(await one.acquire({ publicIP: newIp, held }), '10.5.1.0/24');
  t.same(rows(w), [`10.5.1.0-24 ${newIp}`]);
});

void t.test('stopped in the middle, the key stays', async (t) => {
  const w = world(t);
  const one = w.host(1);
  const held = await begin(one);
  const stop = new AbortController();
  one.client.before = () => {
    stop.abort(new Error('stopped'));
  };
  await t.rejects(one.store.acquire(one.want({ publicIP: newIp, held }), stop.signal), {
    message: 'stopped',
  });
  t.ok(w.etcd.keys.has(key));
});

void t.test('a reservation moves with the host, and stays one', async (t) => {
  const w = world(t);
  const one = w.host(1);
  const held = await begin(one);
  w.etcd.put(key, w.etcd.keys.get(key)?.value ?? '');
  await w.clock.pass(100);
  t.equal(await one.acquire({ publicIP: newIp, held }), '10.5.1.0/24');
  t.equal(w.etcd.keys.get(key)?.value, valueOf(newIp));
  t.equal(w.etcd.keys.get(key)?.lease, 0n);
  t.equal(one.store.health().term, undefined);
});

void t.test('what this store did not acquire is not held', async (t) => {
  const w = world(t);
  const held = await w.host(1).store.acquire(w.host(1).want());
  const other = w.host(2);
  await other.acquire();
  t.equal(
    await other.acquire({ publicIP: newIp, held }),
    '10.5.3.0/24',
    'the claim of somebody who lost all',
  );
  t.ok(rows(w).includes('10.5.1.0-24 192.168.64.1'));
});

void t.test(
  'property: hosts that change addresses at once, over a bad network, all keep their subnets',
  async (t) => {
    const mishaps = [undefined, 'answer lost', 'request lost', 'request delayed'] as const;
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray([0, 1, 2, 3, 4], { minLength: 5 }),
        fc.array(fc.constantFrom(...mishaps), { minLength: 5, maxLength: 5 }),
        async (order, bad) => {
          const w = world(t);
          const hosts = order.map((_, i) => w.host(i + 1));
          const held: Lease[] = [];
          for (const host of hosts) held.push(await begin(host));
          const claims = hosts.map((host, i) => {
            host.client.mishap = bad[i];
            const publicIP = `192.168.64.${String((order[i] ?? 0) + 1)}`;
            return host.store.acquire(host.want({ publicIP, held: held[i] }));
          });
          const all = Promise.all(claims);
          await w.clock.pass(1000);
          for (const host of hosts) host.client.deliver();
          const now = await all;
          t.same(now.map(subnetText), held.map(subnetText));
          await w.clock.pass(30 * hour);
          w.etcd.expire();
          t.same(
            rows(w),
            order.map((other, i) => `10.5.${i + 1}.0-24 192.168.64.${other + 1}`),
          );
          t.same(
            hosts.flatMap((host) => host.problems),
            [],
          );
          for (const host of hosts) await host.end();
        },
      ),
      { numRuns: 60 },
    );
  },
);
