// Many processes on one file, and processes that are killed while they write.

import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { formatCidr } from '../../../../src/net/cidr.ts';
import { openStore } from '../../../../src/store/open.ts';
import { Claimant, claimantCommand } from './fixtures/claimants.ts';
import { ownDirectory } from './fixtures/own-directory.ts';

const config = {
  Network: '10.5.0.0/16',
  SubnetLen: 28,
  SubnetMin: '10.5.1.0',
  SubnetMax: '10.5.2.240',
  Backend: { Type: 'vxlan' },
} as const;

interface Content {
  readonly leases?: Readonly<Record<string, { readonly PublicIP: string }>>;
}

/** Processes, each with addresses of its own, all ready to claim. */
async function claimants(
  file: string,
  mode: 'once' | 'always',
  processes: number,
  each: number,
): Promise<Claimant[]> {
  return Promise.all(
    Array.from({ length: processes }, (_, i) =>
      Claimant.start(
        file,
        mode,
        Array.from({ length: each }, (_, j) => `192.168.${i}.${j + 1}`),
      ),
    ),
  );
}

void t.test('hosts that start together get different subnets', async (t) => {
  const file = path.join(ownDirectory(t, { 'network.json': JSON.stringify({ config }) }), 'network.json');
  // 32 subnets for 24 hosts: drawn at random without the lock, some would surely be drawn twice.
  const all = await claimants(file, 'once', 6, 4);
  for (const claimant of all) claimant.go();
  const got = (await Promise.all(all.map((claimant) => claimant.lines(4)))).flat().sort();
  t.equal(got.length, 24);
  t.equal(new Set(got.map((line) => line.split(' ')[1])).size, 24, `all differ: ${got.join(', ')}`);
  const { leases = {} } = JSON.parse(readFileSync(file, 'utf8')) as Content;
  t.same(
    got,
    Object.entries(leases)
      .map(([key, { PublicIP }]) => `${PublicIP} ${key.replace('-', '/')}`)
      .sort(),
    'and the file has what each was given',
  );
});

void t.test('kill -9 at any moment leaves a whole file and no lock', async (t) => {
  const file = path.join(ownDirectory(t, { 'network.json': JSON.stringify({ config }) }), 'network.json');
  const all = await claimants(file, 'always', 4, 2);
  t.teardown(() => Promise.all(all.map((claimant) => claimant.kill())));
  for (const claimant of all) claimant.go();
  t.same(
    await Promise.all(all.map((claimant) => claimant.lines(2))),
    all.map(() => ['writing', 'writing']),
  );
  const subnets = async (): Promise<string[]> => {
    const stop = new AbortController();
    for await (const event of openStore(`file:${file}`).watch(stop.signal)) {
      stop.abort();
      if (event.kind === 'unreadable') throw event.error;
      t.same(event.warnings, []);
      return event.leases.map(({ subnet }) => (subnet ? formatCidr(subnet) : '')).sort();
    }
    return [];
  };
  const before = await subnets();
  t.equal(before.length, 8);
  for (const claimant of all) {
    // Not waiting for anything: the moment of the blow is to be any.
    await delay(Math.random() * 30);
    await claimant.kill();
    t.same(await subnets(), before);
  }
  const store = openStore(`file:${file}`, { lockTimeout: 60_000 });
  const lease = await store.acquire({
    publicIP: '192.168.0.1',
    backendType: 'vxlan',
    backendData: () => 'after',
  });
  t.ok(lease.subnet && before.includes(formatCidr(lease.subnet)), 'a killed host comes back to its subnet');
});

/** What a store says on a file system of its own, on which the script has done something first. */
async function onOwnFileSystem(directory: string, script: string): Promise<string[]> {
  const child = spawn(
    'unshare',
    [
      '--mount',
      'sh',
      '-euc',
      `mount -t tmpfs -o size=64k none "$0"; cd "$0"; ${script}`,
      directory,
      ...claimantCommand,
    ],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  child.stdin.end('go\n');
  let output = '';
  child.stdout.setEncoding('utf8');
  for await (const chunk of child.stdout) output += String(chunk);
  return output.trimEnd().split('\n');
}

const probe = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt'], { encoding: 'utf8' });
const skip =
  probe.status === 0 ? false : `no mounts of our own: ${probe.error?.message ?? probe.stderr.trim()}`;

void t.test('a full or read-only file system costs nothing but the claim', { skip }, async (t) => {
  const directory = ownDirectory(t);
  const file = path.join(directory, 'network.json');
  const minimal = JSON.stringify({ config });
  const make = `printf '%s' '${minimal}' > network.json`;

  const full = await onOwnFileSystem(
    directory,
    `${make}; : > network.json.lock; dd if=/dev/zero of=filler bs=4k 2>/dev/null || true; "$@" ${file} once 192.168.0.1; ls -A; cat network.json`,
  );
  t.same(full, [
    'ready',
    `STORE_UNWRITABLE: ${file} cannot be written: no space left on device (ENOSPC); free some space on its file system; the old content is untouched`,
    'filler',
    'network.json',
    'network.json.lock',
    minimal,
  ]);

  const readOnly = await onOwnFileSystem(
    directory,
    `${make}; mount -o remount,ro .; "$@" ${file} once 192.168.0.1; ls -A; cat network.json`,
  );
  t.same(readOnly, [
    'ready',
    `STORE_UNWRITABLE: ${file}.lock cannot be opened: read-only file system (EROFS); make its directory writable, or write the lease of this host into the store by hand`,
    'network.json',
    minimal,
  ]);

  const held = JSON.stringify({
    config,
    leases: {
      '10.5.1.16-28': { PublicIP: '192.168.0.1', PublicIPv6: null, BackendType: 'vxlan', BackendData: 0 },
    },
  });
  const known = await onOwnFileSystem(
    directory,
    `printf '%s' '${held}' > network.json; mount -o remount,ro .; "$@" ${file} once 192.168.0.1`,
  );
  t.same(known, ['ready', '192.168.0.1 10.5.1.16/28'], 'a host that has its lease needs to write nothing');
});
