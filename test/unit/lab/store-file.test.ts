// The lab's own reader and writer of the store file, against flannel's documented texts.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { leaseEntry, leasesOf, readStoreFile } from '../../../src/lab/store-file.ts';

const lease4 = { subnet: '10.5.1.0/24', publicIp: '192.168.78.1', mac: '02:00:00:00:00:01' };
const lease6 = { subnet: 'fd05:0:0:1::/64', publicIp: 'fd78::1', mac: '02:00:00:00:00:02' };

t.test("a lease is written as flannel's etcd value, members in its order", async (t) => {
  const [key, value] = leaseEntry(1, lease4);
  t.equal(key, '10.5.1.0-24');
  t.equal(
    JSON.stringify(value),
    '{"PublicIP":"192.168.78.1","PublicIPv6":null,"BackendType":"vxlan",' +
      '"BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}}',
  );
});

t.test('a dual-stack lease is one entry and reads back as two', async (t) => {
  const [key, value] = leaseEntry(1, lease4, lease6);
  t.equal(key, '10.5.1.0-24&fd05:0:0:1::-64');
  const path = join(t.testdir(), 'network.json');
  writeFileSync(path, JSON.stringify({ config: { Network: '10.5.0.0/16' }, leases: { [key]: value } }));
  const store = readStoreFile(path);
  t.same(store.config, { Network: '10.5.0.0/16' });
  t.same(leasesOf(store, 4), [lease4]);
  t.same(leasesOf(store, 6), [lease6]);
});

t.test('a key that is not a lease is an error, an IPv4 lease has no IPv6 part', async (t) => {
  const [key, value] = leaseEntry(1, lease4);
  t.same(leasesOf({ config: {}, leases: { [key]: value } }, 6), []);
  t.throws(() => leasesOf({ config: {}, leases: { nonsense: value } }, 4), { code: 'STORE_MALFORMED' });
});
