import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, renameSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { fileChanges } from '../../../../src/store/file/changes.ts';
import { formatLeaseKey } from '../../../../src/store/lease.ts';
import { openStore } from '../../../../src/store/open.ts';
import type { StoreEvent, SubnetManager } from '../../../../src/store/subnet-manager.ts';
import { ownDirectory } from './fixtures/own-directory.ts';
import { typeScriptCommand } from './fixtures/typescript-command.ts';

const config = { Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } } as const;

/** A file with these leases, `key: PublicIP`. */
const withLeases = (leases: Readonly<Record<string, string>>): string =>
  JSON.stringify({
    config,
    leases: Object.fromEntries(Object.entries(leases).map(([key, PublicIP]) => [key, { PublicIP }])),
  });

/** Puts a whole new file in place, as we write. */
function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

class Watched {
  readonly file: string;
  readonly store: SubnetManager;
  readonly stop = new AbortController();
  readonly #events: AsyncIterator<StoreEvent>;

  constructor(t: Test, file: string) {
    this.file = file;
    this.store = openStore(`file:${file}`, { random: () => 0 });
    this.#events = this.store.watch(this.stop.signal)[Symbol.asyncIterator]();
    t.teardown(() => {
      this.stop.abort();
    });
  }

  static on(t: Test, text: string): Watched {
    return new Watched(t, path.join(ownDirectory(t, { 'network.json': text }), 'network.json'));
  }

  /** The next event, in short: `10.5.1.0-24=192.168.0.1 | warning`, or the code of the error. */
  async next(): Promise<string> {
    const next = await this.#events.next();
    if (next.done === true) return 'end';
    const { value } = next;
    if (value.kind === 'unreadable') return value.error.code;
    const leases = value.leases.map((lease) => `${formatLeaseKey(lease)}=${lease.attrs.publicIP ?? ''}`);
    return [leases.join(' '), ...value.warnings].join(' | ');
  }
}

void t.test('the table as it is, and as it becomes', async (t) => {
  const watched = Watched.on(t, withLeases({}));
  t.equal(await watched.next(), '');
  replace(watched.file, withLeases({ '10.5.1.0-24': '192.168.0.1' }));
  t.equal(await watched.next(), '10.5.1.0-24=192.168.0.1', 'a new file in its place');
  writeFileSync(watched.file, withLeases({ '10.5.1.0-24': '192.168.0.9' }));
  t.equal(await watched.next(), '10.5.1.0-24=192.168.0.9', 'written in place');
  await watched.store.acquire({ publicIP: '192.168.0.2', backendType: 'vxlan' });
  t.equal(await watched.next(), '10.5.1.0-24=192.168.0.9 10.5.2.0-24=192.168.0.2', 'the own lease is in it');
  replace(watched.file, withLeases({ '10.5.2.0-24': '192.168.0.2' }));
  t.equal(await watched.next(), '10.5.2.0-24=192.168.0.2', 'a lease that is gone');
});

void t.test('what changes while nobody reads is one event, with the last state', async (t) => {
  const watched = Watched.on(t, withLeases({}));
  await watched.next();
  for (let i = 1; i <= 20; i++) replace(watched.file, withLeases({ [`10.5.${i}.0-24`]: `192.168.0.${i}` }));
  let last = await watched.next();
  while (!last.startsWith('10.5.20.')) last = await watched.next();
  t.equal(last, '10.5.20.0-24=192.168.0.20');
});

void t.test('no event when the leases stay as they are', async (t) => {
  const watched = Watched.on(t, withLeases({ '10.5.1.0-24': '192.168.0.1' }));
  await watched.next();
  const next = watched.next();
  utimesSync(watched.file, 0, 0);
  writeFileSync(
    watched.file,
    JSON.stringify(JSON.parse(withLeases({ '10.5.1.0-24': '192.168.0.1' })), null, 4),
  );
  writeFileSync(path.join(path.dirname(watched.file), 'another.json'), 'x');
  // Longer than notices are gathered, so that an event for the above would have come.
  const changes = fileChanges(watched.file, watched.stop.signal);
  await changes.next();
  utimesSync(watched.file, 1, 1);
  await changes.next();
  replace(watched.file, withLeases({ '10.5.2.0-24': '192.168.0.2' }));
  t.equal(await next, '10.5.2.0-24=192.168.0.2');
});

void t.test('a file that cannot be read is one event, and so is its recovery', async (t) => {
  const good = withLeases({ '10.5.1.0-24': '192.168.0.1' });
  const watched = Watched.on(t, good);
  t.equal(await watched.next(), '10.5.1.0-24=192.168.0.1');
  truncateSync(watched.file, good.length >> 1);
  t.equal(await watched.next(), 'STORE_MALFORMED');
  rmSync(watched.file);
  t.equal(await watched.next(), 'STORE_MISSING');
  mkdirSync(watched.file);
  t.equal(await watched.next(), 'STORE_UNREADABLE');
  rmSync(watched.file, { recursive: true });
  t.equal(await watched.next(), 'STORE_MISSING');
  writeFileSync(watched.file, good);
  t.equal(await watched.next(), '10.5.1.0-24=192.168.0.1', 'the same leases again');
});

void t.test('a store that is not there yet', async (t) => {
  const directory = ownDirectory(t);
  const watched = new Watched(t, path.join(directory, 'later', 'network.json'));
  t.equal(await watched.next(), 'STORE_MISSING');
  mkdirSync(path.join(directory, 'later'));
  writeFileSync(watched.file, withLeases({ '10.5.1.0-24': '192.168.0.1' }));
  t.equal(await watched.next(), '10.5.1.0-24=192.168.0.1');
});

void t.test('a directory that is replaced is followed', async (t) => {
  const directory = ownDirectory(t, {
    'current/network.json': withLeases({}),
    'other/network.json': withLeases({ '10.5.1.0-24': '192.168.0.1' }),
  });
  const watched = new Watched(t, path.join(directory, 'current', 'network.json'));
  t.equal(await watched.next(), '');
  renameSync(path.join(directory, 'current'), path.join(directory, 'old'));
  renameSync(path.join(directory, 'other'), path.join(directory, 'current'));
  t.equal(await watched.next(), '10.5.1.0-24=192.168.0.1');
  // The notices, too, come from the new directory now.
  replace(watched.file, withLeases({ '10.5.2.0-24': '192.168.0.2' }));
  t.equal(await watched.next(), '10.5.2.0-24=192.168.0.2');
});

void t.test('links are followed, also when they come to lead elsewhere', async (t) => {
  const directory = ownDirectory(t, {
    'v1/network.json': withLeases({}),
    'v2/network.json': withLeases({ '10.5.1.0-24': '192.168.0.1' }),
  });
  // As Kubernetes mounts a ConfigMap.
  symlinkSync('v1', path.join(directory, '..data'));
  symlinkSync('..data/network.json', path.join(directory, 'network.json'));
  const watched = new Watched(t, path.join(directory, 'network.json'));
  t.equal(await watched.next(), '');
  symlinkSync('v2', path.join(directory, '..new'));
  renameSync(path.join(directory, '..new'), path.join(directory, '..data'));
  t.equal(await watched.next(), '10.5.1.0-24=192.168.0.1');
});

void t.test('bad entries and overlaps are warnings; the rest stays', async (t) => {
  const watched = Watched.on(t, withLeases({ '10.5.1.0-24': '192.168.0.1', junk: '192.168.0.2' }));
  t.equal(
    await watched.next(),
    '10.5.1.0-24=192.168.0.1 | leases.junk: the key is not a subnet; write it as 10.5.1.0-24 or 10.5.1.0-24&fd00:5:1::-64',
  );
  replace(
    watched.file,
    withLeases({ '10.5.1.0-24': '192.168.0.1', '10.5.0.0-22': '192.168.0.2', '10.5.9.0-24': '192.168.0.3' }),
  );
  t.equal(
    await watched.next(),
    '10.5.1.0-24=192.168.0.1 10.5.9.0-24=192.168.0.3 | leases["10.5.1.0-24"] and leases["10.5.0.0-22"] overlap (10.5.1.0/24, 10.5.0.0/22); the second one is not used: remove one of them',
  );
  replace(
    watched.file,
    '{"leases": {"10.5.1.0-24": {"PublicIP": "1.1.1.1"}, "10.5.1.0-24": {"PublicIP": "1.1.1.2"}}}',
  );
  t.equal(
    await watched.next(),
    '10.5.1.0-24=1.1.1.2 | leases["10.5.1.0-24"] is there twice; only the last one counts',
  );
});

void t.test('of overlapping leases the own one stays', async (t) => {
  const watched = Watched.on(t, withLeases({}));
  await watched.store.acquire({ publicIP: '192.168.0.1', backendType: 'vxlan' });
  t.equal(await watched.next(), '10.5.1.0-24=192.168.0.1');
  replace(watched.file, withLeases({ '10.5.0.0-22': '192.168.0.2', '10.5.1.0-24': '192.168.0.1' }));
  t.match(await watched.next(), /^10\.5\.1\.0-24=192\.168\.0\.1 \| /);
});

void t.test('ends on the signal, on close, and at once when already aborted', async (t) => {
  const first = Watched.on(t, withLeases({}));
  await first.next();
  const aborted = first.next();
  first.stop.abort();
  t.equal(await aborted, 'end');

  const second = Watched.on(t, withLeases({}));
  await second.next();
  const closed = second.next();
  await second.store.close();
  t.equal(await closed, 'end');

  const third = Watched.on(t, withLeases({}));
  third.stop.abort();
  t.equal(await third.next(), 'end');
});

/** What leaves the watch, as a program that prints the kind of the first event and should then end by itself. */
const leavings = {
  'leaving the loop': 'for await (const { kind } of events) { console.log(kind); break; }',
  'the signal, also when nobody asks for the next event':
    'console.log((await events[Symbol.asyncIterator]().next()).value.kind); stop.abort();',
};

for (const [name, leave] of Object.entries(leavings)) {
  void t.test(`nothing stays behind that keeps the process alive: ${name}`, async (t) => {
    const file = path.join(ownDirectory(t, { 'network.json': withLeases({}) }), 'network.json');
    const open = new URL('../../../../src/store/open.ts', import.meta.url).href;
    const program = `
      import { openStore } from ${JSON.stringify(open)};
      const stop = new AbortController();
      const events = openStore(${JSON.stringify(`file:${file}`)}).watch(stop.signal);
      ${leave}
    `;
    const [node, ...loader] = typeScriptCommand;
    const child = spawn(node, [...loader, '--input-type=module', '--eval', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(() => child.kill());
    const said: Promise<unknown[]> = once(child.stdout, 'data');
    const ended: Promise<unknown[]> = once(child, 'exit');
    t.equal(String((await said)[0]), 'leases\n');
    t.equal((await ended)[0], 0);
  });
}
