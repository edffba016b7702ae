// `kersey config` and `kersey leases` on a store file: what they print, what they refuse, what they leave alone.

import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';

import { Background, run } from '../../../src/lab/command.ts';
import type { RunResult } from '../../../src/lab/command.ts';
import { awaitCondition } from '../../../src/lab/condition.ts';
import { nodeCommand } from '../../../src/lab/self.ts';

interface World {
  readonly file: string;
  readonly store: readonly string[];
  kersey(...argv: readonly string[]): Promise<RunResult>;
  /** It must fail with one line; @returns that line. */
  refused(code: 1 | 2, ...argv: readonly string[]): Promise<string>;
  content(): unknown;
}

// The test runner puts its hooks into NODE_OPTIONS of every child; the program is tested without them.
const program = ['/usr/bin/env', '-u', 'NODE_OPTIONS', ...nodeCommand('cli/main')];

function world(t: Test, document?: object): World {
  const folder = mkdtempSync(path.join(tmpdir(), 'ky-commands-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true });
  });
  const file = path.join(folder, 'net.json');
  if (document !== undefined) writeFileSync(file, JSON.stringify(document));
  const store = ['--store', `file:${file}`];
  const kersey = (...argv: readonly string[]): Promise<RunResult> =>
    run([...program, ...argv, ...store], { anyExit: true });
  const refused = async (code: 1 | 2, ...argv: readonly string[]): Promise<string> => {
    const before = existsSync(file) ? readFileSync(file, 'utf8') : undefined;
    const { exitCode, stdout, stderr } = await kersey(...argv);
    t.equal(exitCode, code, argv.join(' '));
    t.equal(stdout, '');
    t.match(stderr, /^kersey: [A-Z_]+: [^\n]+; [^\n]+\n$/, 'one line: code, object, remedy');
    t.equal(existsSync(file) ? readFileSync(file, 'utf8') : undefined, before, 'nothing was written');
    return stderr;
  };
  return { file, store, kersey, refused, content: () => JSON.parse(readFileSync(file, 'utf8')) as unknown };
}

const config = { Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } };
const lease = (ip: string, mac: string): object => ({
  PublicIP: ip,
  PublicIPv6: null,
  BackendType: 'vxlan',
  BackendData: { VNI: 1, VtepMAC: mac },
});

t.test('config init makes the first one, and no second', async (t) => {
  const w = world(t);
  t.match(await w.refused(1, 'config', 'get'), /CONFIG_MISSING: .*; write one: kersey config init /);
  t.match(await w.refused(2, 'config', 'init'), /USAGE: which network/);
  t.match(
    await w.refused(1, 'config', 'init', '--network', '10.5.0.0/30'),
    /CONFIG_INVALID: config\.Network/,
  );
  t.match(
    await w.refused(2, 'config', 'init', '--network', '10.5.0.0/16', '--vni', '16777216'),
    /USAGE: --vni/,
  );
  const made = await w.kersey(
    'config',
    'init',
    '--network',
    '10.5.0.0/16',
    '--vni',
    '7',
    '--subnet-len',
    '26',
  );
  t.equal(made.exitCode, 0);
  t.match(made.stdout, /^wrote 10\.5\.0\.0\/16 to file:.*\nnext: kersey up --store file:/);
  t.same(w.content(), {
    config: { Network: '10.5.0.0/16', SubnetLen: 26, Backend: { Type: 'vxlan', VNI: 7 } },
  });
  t.match(await w.refused(1, 'config', 'init', '--network', '10.6.0.0/16'), /CONFIG_EXISTS: .*--force/);
  const forced = await w.kersey('config', 'init', '--ipv6-network', 'fd00:6::/48', '--force');
  t.match(forced.stdout, /^wrote fd00:6::\/48 to .*\nnext: restart/);
  t.same(w.content(), {
    config: { EnableIPv4: false, EnableIPv6: true, IPv6Network: 'fd00:6::/48', Backend: { Type: 'vxlan' } },
  });
  t.same(readdirSync(path.dirname(w.file)).sort(), ['net.json', 'net.json.lock'], 'no leftovers');
});

t.test('config get: as it stands, and normalised', async (t) => {
  const written = { network: '10.5.3.4/16', backend: { TYPE: 'VXLAN', vni: 3 }, Other: [1] };
  const w = world(t, { config: written });
  t.same(JSON.parse((await w.kersey('config', 'get')).stdout), written);
  t.same(JSON.parse((await w.kersey('config', 'get', '-o', 'json')).stdout), {
    EnableIPv4: true,
    EnableIPv6: false,
    EnableNFTables: false,
    Network: '10.5.0.0/16',
    SubnetLen: 24,
    SubnetMin: '10.5.1.0',
    SubnetMax: '10.5.255.0',
    Backend: {
      ...{ Type: 'vxlan', VNI: 3, Port: 8472 },
      ...{ DirectRouting: false, GBP: false, Learning: false },
    },
  });
  writeFileSync(w.file, JSON.stringify({ config: { Network: 'x' } }));
  t.same(JSON.parse((await w.kersey('config', 'get')).stdout), { Network: 'x' }, 'also what is wrong');
  t.match(await w.refused(1, 'config', 'get', '-o', 'json'), /CONFIG_INVALID: .*config\.Network is "x"/);
});

t.test('config set: checked first, by key and rule', async (t) => {
  const w = world(t, {
    config,
    leases: { '10.5.1.0-24': lease('192.0.2.1', '02:00:00:00:00:01') },
    note: 'kept',
  });
  const input = path.join(path.dirname(w.file), 'new.json');
  const set = async (text: string): Promise<RunResult> => {
    writeFileSync(input, text);
    return w.kersey('config', 'set', input);
  };
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['{"Network": ', /CONFIG_INVALID: .*new\.json:1:\d+: /],
    [
      '{"Network":"10.5.0.0/16","SubnetLen":17,"Backend":{"Type":"vxlan"}}',
      /config\.SubnetLen 17 .*four subnets/,
    ],
    [
      '{"Network":"10.5.0.0/16","SubnetMin":"10.6.0.0","Backend":{"Type":"vxlan"}}',
      /config\.SubnetMin .*outside/,
    ],
    [
      '{"Network":"10.5.0.0/16","Network":"10.6.0.0/16","Backend":{"Type":"vxlan"}}',
      /config\.Network is there twice/,
    ],
    ['{"Network":"10.5.0.0/16","Backend":{}}', /BACKEND_UNSUPPORTED: .*config\.Backend\.Type is missing/],
    ['[]', /config is \[\], not an object/],
  ];
  for (const [text, message] of wrong) {
    writeFileSync(input, text);
    t.match(await w.refused(1, 'config', 'set', input), message);
  }
  t.match(await w.refused(2, 'config', 'set', `${input}.nowhere`), /cannot be read/);

  const better = { Network: '10.6.0.0/16', Backend: { Type: 'vxlan', VNI: 9 } };
  const done = await set(`\n${JSON.stringify(better)}\n`);
  t.equal(done.exitCode, 0);
  t.match(done.stderr, /^warning: a lease is outside what the network leases now: 10\.5\.1\.0-24\n$/);
  t.match(w.content(), {
    config: better,
    note: 'kept',
    leases: { '10.5.1.0-24': { PublicIP: '192.0.2.1' } },
  });

  const piped = Background.start([...program, 'config', 'set', '-', ...w.store]);
  piped.close(JSON.stringify(config));
  t.equal(await piped.exited, 0, piped.stderr);
  t.match(w.content(), { config });
});

t.test('leases: what is wrong first, then the table', async (t) => {
  const w = world(t, {
    config,
    leases: {
      '10.5.20.0-24': lease('192.0.2.2', '02:00:00:00:00:02'),
      '10.5.3.0-24': lease('192.0.2.1', '02:00:00:00:00:01'),
      '10.5.4.0-24': 'damaged',
      nonsense: {},
    },
  });
  const { stdout } = await w.kersey('leases');
  const lines = stdout.trimEnd().split('\n');
  t.match(lines.slice(0, 2), [/^warning: leases\["10\.5\.4\.0-24"\]: /, /^warning: leases\.nonsense: /]);
  t.same(lines.slice(2, -1), [
    'subnet        public IP   backend  VtepMAC            expires',
    '10.5.3.0/24   192.0.2.1   vxlan    02:00:00:00:00:01  reserved',
    '10.5.4.0/24   unreadable                              reserved',
    '10.5.20.0/24  192.0.2.2   vxlan    02:00:00:00:00:02  reserved',
  ]);
  t.match(lines.at(-1), /^next: /);
  const json = JSON.parse((await w.kersey('leases', '-o', 'json')).stdout) as { leases: { key: string }[] };
  t.same(
    json.leases.map(({ key }) => key),
    ['10.5.3.0-24', '10.5.4.0-24', '10.5.20.0-24'],
  );
  t.match(json, {
    warnings: [/10\.5\.4/, /nonsense/],
    leases: [
      { subnet: '10.5.3.0/24', subnet6: null, ttl: null, value: lease('192.0.2.1', '02:00:00:00:00:01') },
      { value: null },
    ],
  });
});

t.test('leases reserve and release', async (t) => {
  const w = world(t, { config, leases: { '10.5.3.0-24': lease('192.0.2.1', '02:00:00:00:00:01') } });
  const reserve = (...more: string[]): readonly string[] => ['leases', 'reserve', ...more];
  t.match(await w.refused(2, ...reserve('10.5.4.0/24')), /--public-ip is missing/);
  t.match(
    await w.refused(2, ...reserve('10.5.4.1/24', '--public-ip', '192.0.2.4')),
    /10\.5\.4\.1\/24 does not begin where the subnet does/,
  );
  t.match(
    await w.refused(2, ...reserve('10.5.4.0/25', '--public-ip', '192.0.2.4')),
    /choose a \/24 from 10\.5\.1\.0/,
  );
  t.match(await w.refused(2, ...reserve('fd00::/64', '--public-ipv6', 'fd78::1')), /IPv4 subnet is missing/);
  t.match(await w.refused(1, ...reserve('10.5.4.0/24', '--public-ip', 'x')), /ADDRESS_INVALID/);
  t.match(
    await w.refused(1, ...reserve('10.5.3.0/24', '--public-ip', '192.0.2.4')),
    /SUBNET_OVERLAP: .*192\.0\.2\.1/,
  );
  t.match(
    await w.refused(1, ...reserve('10.5.5.0/24', '--public-ip', '192.0.2.1')),
    /has 10\.5\.3\.0\/24 already/,
  );

  t.equal((await w.kersey(...reserve('10.5.4.0/24', '--public-ip', '192.0.2.4'))).exitCode, 0);
  const held = { '10.5.3.0-24': lease('192.0.2.1', '02:00:00:00:00:01') };
  t.same(w.content(), {
    config,
    leases: { ...held, '10.5.4.0-24': { PublicIP: '192.0.2.4', PublicIPv6: null } },
  });
  t.equal((await w.kersey(...reserve('10.5.3.0/24', '--public-ip', '192.0.2.1'))).exitCode, 0, 'its own');
  t.match(w.content(), { leases: held }, 'stays as it is');

  t.match((await w.kersey('leases', 'release', '10.5.4.0/24')).stdout, /^released 10\.5\.4\.0\/24/);
  t.same(w.content(), { config, leases: held });
  t.match(await w.refused(1, 'leases', 'release', '10.5.4.0-24'), /LEASE_MISSING: .*10\.5\.4\.0\/24/);
  t.match(await w.refused(2, 'leases', 'release', 'x'), /'x' is not the subnet/);
});

t.test('leases watch: one line a change, until it is stopped', async (t) => {
  const first = lease('192.0.2.1', '02:00:00:00:00:01');
  const w = world(t, { config, leases: { '10.5.3.0-24': first } });
  const write = (leases: object): void => {
    writeFileSync(w.file, JSON.stringify({ config, leases }));
  };
  const watch = Background.start([...program, 'leases', 'watch', ...w.store]);
  t.teardown(() => watch.stop());
  const lines = (count: number): Promise<readonly string[]> =>
    awaitCondition(`${count} lines of ${watch.stdout}`, () => {
      const all = watch.stdout.split('\n').slice(0, -1);
      return all.length >= count && all;
    });
  await lines(1);
  write({
    '10.5.3.0-24': lease('192.0.2.1', '02:00:00:00:00:09'),
    '10.5.4.0-24': lease('192.0.2.4', '02:00:00:00:00:04'),
  });
  await lines(3);
  writeFileSync(w.file, '{');
  await awaitCondition('a warning', () => watch.stderr.includes('warning: STORE_MALFORMED'));
  write({ '10.5.4.0-24': lease('192.0.2.4', '02:00:00:00:00:04') });
  t.same(await lines(4), [
    'added     10.5.3.0/24  192.0.2.1  vxlan  02:00:00:00:00:01  reserved',
    'changed   10.5.3.0/24  192.0.2.1  vxlan  02:00:00:00:00:09  reserved',
    'added     10.5.4.0/24  192.0.2.4  vxlan  02:00:00:00:00:04  reserved',
    'removed   10.5.3.0/24  192.0.2.1  vxlan  02:00:00:00:00:09  reserved',
  ]);
  watch.kill('SIGINT');
  await watch.exited;
  t.match(watch.end, /was ended by SIGINT/);

  const head = Background.start([
    ...['sh', '-c', '"$@" | head -n1', 'sh'],
    ...[...program, 'leases', 'watch', '-o', 'json', ...w.store],
  ]);
  t.teardown(() => head.stop());
  await awaitCondition('the first line', () => head.stdout.includes('\n'));
  t.match(JSON.parse(head.stdout), { change: 'added', lease: { key: '10.5.4.0-24' } });
  write({});
  t.equal(await head.exited, 0, 'it ends when nobody reads');
});

t.test('the command line', async (t) => {
  const w = world(t);
  t.match(await w.refused(2, 'config', 'nope'), /unknown command 'nope'; see `kersey config --help`/);
  t.match(await w.refused(2, 'config', 'get', '--nope'), /'--nope'; see `kersey config get --help`/);
  t.match(await w.refused(2, 'leases', 'reserve'), /missing required argument 'subnet'/);
  const bare = await run([...program, 'config'], { anyExit: true });
  t.equal(bare.exitCode, 2);
  t.match(bare.stderr, /^kersey: USAGE: no subcommand was given; see `kersey config --help`\n$/);
});
