import {
  chmodSync,
  chownSync,
  linkSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { KerseyError } from '../../../../src/errors.ts';
import { parseCidr } from '../../../../src/net/cidr.ts';
import { FileStore } from '../../../../src/store/file/file-store.ts';
import { formatLeaseKey } from '../../../../src/store/lease.ts';
import type { JsonObject } from '../../../../src/store/lease.ts';
import { openStore } from '../../../../src/store/open.ts';
import type { AcquireRequest, SubnetManager } from '../../../../src/store/subnet-manager.ts';
import { ownDirectory } from './fixtures/own-directory.ts';

const config = { Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } } as const;

/** A store on a file of its own, and that file. */
function storeOf(t: Test, content: unknown): { store: SubnetManager; file: string; directory: string } {
  const text = typeof content === 'string' ? content : JSON.stringify(content);
  const directory = ownDirectory(t, { 'network.json': text });
  const file = path.join(directory, 'network.json');
  const store = openStore(`file:${file}`, { random: () => 0 });
  t.teardown(() => store.close());
  return { store, file, directory };
}

const content = (file: string): JsonObject => JSON.parse(readFileSync(file, 'utf8')) as JsonObject;

const vtep =
  (mac: string): AcquireRequest['backendData'] =>
  (existing) =>
    existing ?? { VNI: 1, VtepMAC: mac };

const want = (publicIP: string): AcquireRequest => ({
  publicIP,
  backendType: 'vxlan',
  backendData: vtep('0e:00:00:00:00:01'),
});

async function refusal(attempt: Promise<unknown>): Promise<KerseyError> {
  try {
    await attempt;
  } catch (error) {
    if (error instanceof KerseyError) return error;
    throw error;
  }
  throw new Error('accepted');
}

void t.test('a claim is written as flannel writes it', async (t) => {
  const { store, file, directory } = storeOf(t, { config });
  t.equal(store.description, `file:${file}`);
  t.match(await store.config(), { enableIPv4: true, backend: { type: 'vxlan', vni: 1 } });
  const lease = await store.acquire(want('192.168.0.1'));
  t.equal(formatLeaseKey(lease), '10.5.1.0-24');
  t.equal(
    readFileSync(file, 'utf8'),
    `${JSON.stringify(
      {
        config,
        leases: {
          '10.5.1.0-24': {
            PublicIP: '192.168.0.1',
            PublicIPv6: null,
            BackendType: 'vxlan',
            BackendData: { VNI: 1, VtepMAC: '0e:00:00:00:00:01' },
          },
        },
      },
      null,
      2,
    )}\n`,
  );
  t.same(readdirSync(directory).sort(), ['network.json', 'network.json.lock'], 'no temporary file stays');
});

void t.test('both families have one lease', async (t) => {
  const { store, file } = storeOf(t, { config: { ...config, EnableIPv6: true, IPv6Network: 'fd00:5::/48' } });
  const lease = await store.acquire({
    ...want('192.168.0.1'),
    publicIPv6: 'FD00::1',
    backendV6Data: vtep('0e:00:00:00:00:02'),
  });
  t.equal(formatLeaseKey(lease), '10.5.1.0-24&fd00:5:0:1::-64');
  t.same(content(file)['leases'], {
    '10.5.1.0-24&fd00:5:0:1::-64': {
      PublicIP: '192.168.0.1',
      PublicIPv6: 'fd00::1',
      BackendType: 'vxlan',
      BackendData: { VNI: 1, VtepMAC: '0e:00:00:00:00:01' },
      BackendV6Data: { VNI: 1, VtepMAC: '0e:00:00:00:00:02' },
    },
  });
});

void t.test('the same host gets the same lease, and nothing is written for it', async (t) => {
  const { store, file } = storeOf(t, { config });
  const before = await store.acquire(want('192.168.0.1'));
  const { ino } = statSync(file);
  const again = openStore(`file:${file}`);
  const after = await again.acquire({ ...want('192.168.0.1'), backendData: vtep('0e:00:00:00:00:99') });
  t.same(after, before, 'the VTEP keeps its MAC address');
  t.equal(statSync(file).ino, ino);
});

void t.test('a lease written by hand is taken up and completed', async (t) => {
  const { store, file } = storeOf(t, {
    config,
    leases: {
      '10.5.3.0-24': { PublicIP: '192.168.0.3', Comment: 'printer' },
      '10.5.7.0-24': { publicip: '192.168.0.1', Comment: 'gateway' },
      '10.5.9.0-24': { PublicIP: 'to be filled in' },
    },
    'our own notes': [1, { a: null }],
  });
  const lease = await store.acquire(want('192.168.0.1'));
  t.equal(formatLeaseKey(lease), '10.5.7.0-24');
  const written = content(file);
  t.same(Object.keys(written), ['config', 'leases', 'our own notes']);
  t.same(written, {
    config,
    leases: {
      '10.5.3.0-24': { PublicIP: '192.168.0.3', Comment: 'printer' },
      '10.5.7.0-24': {
        PublicIP: '192.168.0.1',
        PublicIPv6: null,
        BackendType: 'vxlan',
        BackendData: { VNI: 1, VtepMAC: '0e:00:00:00:00:01' },
        Comment: 'gateway',
      },
      '10.5.9.0-24': { PublicIP: 'to be filled in' },
    },
    'our own notes': [1, { a: null }],
  });
  t.same(
    Object.keys(written['leases'] as JsonObject),
    ['10.5.3.0-24', '10.5.7.0-24', '10.5.9.0-24'],
    'in its place',
  );
});

void t.test('a lease outside the network moves, and leaves nothing behind', async (t) => {
  const { store, file } = storeOf(t, {
    config,
    leases: { '10.6.7.0-24': { PublicIP: '192.168.0.1', Comment: 'kept' } },
  });
  const lease = await store.acquire({ ...want('192.168.0.1'), previous: parseCidr('10.5.9.0/24') });
  t.equal(formatLeaseKey(lease), '10.5.9.0-24');
  t.match(content(file)['leases'], { '10.5.9.0-24': { Comment: 'kept' } });
  t.notOk('10.6.7.0-24' in (content(file)['leases'] as JsonObject));
});

void t.test('mode and owner stay, and a link stays a link', async (t) => {
  const { file, directory } = storeOf(t, { config });
  chmodSync(file, 0o640);
  if (process.geteuid?.() === 0) chownSync(file, 12345, 54321);
  const before = statSync(file);
  const link = path.join(directory, 'link.json');
  symlinkSync('network.json', link);
  await openStore(`file:${link}`, { random: () => 0 }).acquire(want('192.168.0.1'));
  const after = statSync(file);
  t.same([after.mode, after.uid, after.gid], [before.mode, before.uid, before.gid]);
  t.same(readdirSync(directory).sort(), ['link.json', 'network.json', 'network.json.lock']);
  t.match(content(link)['leases'], { '10.5.1.0-24': {} });
});

void t.test('a reader with the old file open keeps the old content, whole', async (t) => {
  const { store, file, directory } = storeOf(t, { config });
  const old = readFileSync(file, 'utf8');
  linkSync(file, path.join(directory, 'old.json'));
  await store.acquire(want('192.168.0.1'));
  t.equal(readFileSync(path.join(directory, 'old.json'), 'utf8'), old);
});

void t.test('what a killed writer left behind is taken away', async (t) => {
  const { store, file, directory } = storeOf(t, { config });
  writeFileSync(path.join(directory, '.network.json.kersey-new'), '{"half');
  await store.acquire(want('192.168.0.1'));
  t.same(readdirSync(directory).sort(), ['network.json', 'network.json.lock']);
  t.match(content(file)['leases'], { '10.5.1.0-24': {} });
});

void t.test('what an editor saves while a claim is made is not lost', async (t) => {
  const { file } = storeOf(t, { config });
  let edits = 0;
  const store = openStore(`file:${file}`, { random: () => 0 });
  const lease = await store.acquire({
    ...want('192.168.0.1'),
    backendData: () => {
      // Called while the claim is made: once without the lock, then with it.
      if (++edits === 2)
        writeFileSync(file, JSON.stringify({ config, leases: { '10.5.1.0-24': { PublicIP: '1.1.1.1' } } }));
      return edits;
    },
  });
  t.equal(edits, 3, 'the claim started over');
  t.equal(formatLeaseKey(lease), '10.5.2.0-24');
  t.match(content(file)['leases'], {
    '10.5.1.0-24': { PublicIP: '1.1.1.1' },
    '10.5.2.0-24': { BackendData: 3 },
  });
});

void t.test('what cannot be used is refused, and left as it is', async (t) => {
  const lease = { PublicIP: '192.168.0.9' };
  const cases: readonly (readonly [content: unknown, code: string, message: string | RegExp])[] = [
    [
      '{"config": {"Network": "10.5.0.0/16",\n "Backend": {"Ty',
      'STORE_MALFORMED',
      'FILE:2:17: the text ends here; the string has no end',
    ],
    ['', 'STORE_MALFORMED', 'FILE:1:1: the text ends here; expected a value'],
    ['[]', 'STORE_MALFORMED', 'FILE: it is not a JSON object'],
    [{ config, leases: [] }, 'STORE_MALFORMED', 'FILE: leases is not an object'],
    [
      '{"config": {}, "leases": {"10.5.1.0-24": {}, "10.5.1.0-24": {}}}',
      'CONFIG_NETWORK_MISSING',
      'FILE: config.Network is missing',
    ],
    [
      `{"config": ${JSON.stringify(config)}, "leases": {"10.5.1.0-24": {}, "10.5.1.0-24": {}}}`,
      'STORE_MALFORMED',
      'FILE: leases["10.5.1.0-24"] is there twice',
    ],
    [
      `{"config": ${JSON.stringify(config)}, "leases": {}, "leases": {}}`,
      'STORE_MALFORMED',
      'FILE: leases is there twice',
    ],
    [{}, 'CONFIG_INVALID', 'FILE: config is missing'],
    [
      { config: { ...config, SubnetLen: 99 } },
      'CONFIG_INVALID',
      'FILE: config.SubnetLen is 99, not a whole number from 0 to 30',
    ],
    [
      { config: { Network: '10.5.0.0/16', Backend: {} } },
      'BACKEND_UNSUPPORTED',
      /^FILE: config\.Backend\.Type is missing/,
    ],
    [
      { config, leases: { '10.5.1.0-24': lease, '10.5.0.0-22': lease } },
      'SUBNET_OVERLAP',
      'FILE: leases["10.5.1.0-24"] and leases["10.5.0.0-22"] overlap (10.5.1.0/24, 10.5.0.0/22)',
    ],
    [
      { config: { ...config, Network: '10.5.0.0/28' }, leases: { '10.5.0.0-28': lease } },
      'SUBNETS_EXHAUSTED',
      'every /30 subnet of 10.5.0.0/28 from 10.5.0.4 to 10.5.0.12 is taken (subnets: 3, leases: 1)',
    ],
  ];
  for (const [content, code, message] of cases) {
    const { store, file, directory } = storeOf(t, content);
    const before = readFileSync(file, 'utf8');
    const error = await refusal(store.acquire(want('192.168.0.1')));
    t.equal(error.code, code);
    const said = error.message.replace(file, 'FILE');
    if (typeof message === 'string') t.equal(said, message);
    else t.match(said, message);
    t.not(error.remedy, '');
    t.equal(readFileSync(file, 'utf8'), before);
    t.notOk(readdirSync(directory).some((name) => name.includes('kersey-new')));
  }
});

void t.test('a file that is not there is said with what to write', async (t) => {
  const directory = ownDirectory(t);
  const file = path.join(directory, 'network.json');
  const error = await refusal(openStore(`file:${file}`).acquire(want('192.168.0.1')));
  t.equal(
    error.line,
    `STORE_MISSING: ${file} does not exist; create it, with at least {"config": {"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}}`,
  );
  t.same(readdirSync(directory), [], 'no lock file either');
  const minimal = error.remedy.slice(error.remedy.indexOf('{'));
  writeFileSync(file, minimal);
  t.match(await openStore(`file:${file}`).config(), { enableIPv4: true }, 'and what it says works');
});

void t.test('what is no file, or no text, is said', async (t) => {
  const directory = ownDirectory(t, { 'directory/x': '' });
  const file = path.join(directory, 'latin1.json');
  writeFileSync(file, Buffer.from('{"config": "\xe9"}', 'latin1'));
  t.match(await refusal(openStore(`file:${file}`).config()), {
    code: 'STORE_MALFORMED',
    message: `${file}: it is not UTF-8 text`,
  });
  t.match(await refusal(openStore(`file:${directory}/directory`).config()), {
    code: 'STORE_UNREADABLE',
    message: /it is not a regular file$/,
  });
  t.match(await refusal(openStore('file:/dev/zero').config()), {
    code: 'STORE_UNREADABLE',
    message: '/dev/zero cannot be read: it is not a regular file',
  });
});

void t.test('a public address of the wrong family is a mistake of the caller', async (t) => {
  const { store } = storeOf(t, { config });
  await t.rejects(store.acquire({ backendType: 'vxlan' }), TypeError);
  await t.rejects(store.acquire({ publicIP: 'fd00::1', backendType: 'vxlan' }), TypeError);
});

void t.test('a store that was closed is not used', async (t) => {
  const { store } = storeOf(t, { config });
  await store.close();
  await store.close();
  t.match(await refusal(store.acquire(want('192.168.0.1'))), { code: 'STORE_CLOSED' });
  t.match(await refusal(store.config()), { code: 'STORE_CLOSED' });
});

void t.test('which store is meant', (t) => {
  t.ok(openStore('file:relative.json') instanceof FileStore);
  t.equal(openStore('file:relative.json').description, `file:${path.resolve('relative.json')}`);
  t.equal(openStore('FILE:/a/../b').description, 'file:/b');
  const remedy = 'write file:PATH, such as file:/etc/kersey/network.json';
  const cases = [
    ['/etc/kersey/network.json', "the store '/etc/kersey/network.json' does not say which kind it is"],
    ['', "the store '' does not say which kind it is"],
    ['consul:http://127.0.0.1', "'consul:' is not a kind of store; there are file: and etcd:"],
    ['file:', "the store 'file:' does not name a file"],
  ] as const;
  for (const [store, message] of cases) t.throws(() => openStore(store), { code: 'USAGE', message, remedy });
  t.end();
});
