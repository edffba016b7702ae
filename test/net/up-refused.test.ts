// `kersey up` where it cannot work: one line with a code, the object and the remedy, and nothing left behind.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';

import { run } from '../../src/lab/command.ts';
import type { RunResult } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import { probeKernelVxlan } from '../../src/lab/kernel-vxlan.ts';
import { Lab } from '../../src/lab/lab.ts';
import { Daemon, kersey } from '../lib/daemon.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';

const skip = skipUnlessRoot() || skipUnlessTun();
const good = { config: { Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } } };

interface World {
  readonly lab: Lab;
  readonly store: string;
  readonly runDir: string;
  readonly subnetFile: string;
}

async function world(t: Test, document: unknown = good): Promise<World> {
  const lab = await Lab.open({ hosts: ['h1', 'h2'], join: 'direct' });
  t.teardown(() => lab.close());
  const store = path.join(lab.directory, 'network.json');
  writeFileSync(store, typeof document === 'string' ? document : JSON.stringify(document));
  return {
    lab,
    store,
    runDir: path.join(lab.directory, 'run'),
    subnetFile: path.join(lab.directory, 'subnet.env'),
  };
}

async function linkNames(host: Host): Promise<readonly string[]> {
  return (await host.ipJson<{ ifname: string }[]>('link')).map(({ ifname }) => ifname);
}

/** Runs `kersey up` on h1, which must refuse, and checks that nothing came of it. */
async function refused(
  t: Test,
  { lab, store, runDir, subnetFile }: World,
  line: RegExp,
  options: {
    readonly more?: readonly string[];
    readonly before?: readonly string[];
    readonly iface?: string;
    readonly dataplane?: 'engine' | 'kernel';
  } = {},
): Promise<void> {
  const h1 = lab.host('h1');
  const links = await linkNames(h1);
  const routes = (await h1.exec(['ip', 'route'])).stdout;
  const text = existsSync(store) ? readFileSync(store, 'utf8') : undefined;
  const up = ['up', '--store', `file:${store}`, '--iface', options.iface ?? 'eth0', ...(options.more ?? [])];
  const files = ['--run-dir', runDir, '--subnet-file', subnetFile];
  if (options.dataplane !== undefined) files.push('--dataplane', options.dataplane);
  const result: RunResult = await h1.exec([...(options.before ?? []), ...kersey, ...up, ...files], {
    anyExit: true,
  });
  const [first, ...rest] = result.stderr.trimEnd().split('\n');
  t.match(first, line);
  t.same(rest, [], 'one line');
  t.match(first, /^kersey: [A-Z_]+: .+; .+$/, 'with a code, an object and a remedy');
  t.equal(result.exitCode, 1);
  t.same(await linkNames(h1), links, 'no device');
  t.equal((await h1.exec(['ip', 'route'])).stdout, routes, 'no route');
  t.equal(existsSync(store) ? readFileSync(store, 'utf8') : undefined, text, 'no lease');
  t.notOk(existsSync(subnetFile), 'no subnet file');
  t.same(existsSync(runDir) ? readdirSync(runDir) : [], [], 'no socket');
}

t.test('the store', { skip }, async (t) => {
  const w = await world(t);
  const documents: readonly (readonly [string, unknown, RegExp])[] = [
    ['cut in half', '{"config": {"Netw', /STORE_MALFORMED: .*network\.json:1:/],
    ['not JSON', 'Network: 10.5.0.0/16', /STORE_MALFORMED/],
    ['no network', { config: { Backend: { Type: 'vxlan' } } }, /CONFIG_NETWORK_MISSING: .*config\.Network/],
    ['contradictory', { config: { ...good.config, SubnetLen: 8 } }, /CONFIG_INVALID: .*config\.SubnetLen/],
    [
      'another backend',
      { config: { ...good.config, Backend: { Type: 'ipsec' } } },
      /BACKEND_UNSUPPORTED: .*ipsec/,
    ],
    [
      'overlapping leases',
      {
        ...good,
        leases: {
          '10.5.4.0-24': { PublicIP: '192.168.78.4', BackendType: 'vxlan' },
          '10.5.4.0-25': { PublicIP: '192.168.78.5', BackendType: 'vxlan' },
        },
      },
      /SUBNET_OVERLAP: .*10\.5\.4\.0-24.*10\.5\.4\.0-25/,
    ],
  ];
  for (const [name, document, line] of documents) {
    t.comment(name);
    writeFileSync(w.store, typeof document === 'string' ? document : JSON.stringify(document));
    await refused(t, w, line);
  }
  await refused(t, { ...w, store: `${w.store}.nowhere` }, /STORE_MISSING: .*network\.json\.nowhere/);
});

for (const dataplane of ['engine', 'kernel'] as const) {
  t.test(`the host, on the ${dataplane}`, { skip }, async (t) => {
    const w = await world(t);
    const h1 = w.lab.host('h1');
    const lacks = dataplane === 'kernel' ? await probeKernelVxlan(h1) : undefined;
    if (lacks !== undefined) {
      t.pass('nothing to refuse', { skip: `no kernel vxlan: ${lacks}` });
      return;
    }
    await refused(
      t,
      w,
      /IFACE_NOT_FOUND: no interface fits --iface eth7; choose one of eth0 \(192\.168\.78\.1\)/,
      { iface: 'eth7', dataplane },
    );

    await h1.ip('tuntap add dev flannel.1 mode tun');
    await refused(t, w, /DEVICE_TAKEN: .*flannel\.1/, { dataplane });
    await h1.ip('link delete flannel.1');

    const holder = h1.spawn([
      process.execPath,
      '-e',
      "require('node:dgram').createSocket('udp4').bind(8472, () => console.log('bound'))",
    ]);
    await awaitCondition('the port to be taken', () => holder.stdout.includes('bound'));
    await refused(t, w, /PORT_IN_USE: .*8472/, { dataplane });
    await holder.stop();

    await h1.ip('link set eth0 mtu 600');
    await refused(t, w, /MTU_TOO_SMALL: the MTU of the interface eth0 is 600/, { dataplane });
    await h1.ip('link set eth0 mtu 1500');

    await h1.ip('address add 10.5.3.3/24 dev eth0');
    await refused(t, w, /SUBNET_OVERLAP: .*10\.5\.3\.3 of eth0/, { iface: '10.5.3.3', dataplane });
    await h1.ip('address delete 10.5.3.3/24 dev eth0');
  });
}

t.test('a public address that is not here', { skip }, async (t) => {
  const w = await world(t);
  const h1 = w.lab.host('h1');
  const elsewhere = ['--public-ip', '203.0.113.9'];
  const alone = [
    'ip',
    'netns',
    'exec',
    h1.netns,
    ...kersey,
    'up',
    '--store',
    `file:${w.store}`,
    ...elsewhere,
  ];
  const { stderr } = await run([...alone, '--run-dir', w.runDir, '--subnet-file', w.subnetFile], {
    anyExit: true,
  });
  t.match(stderr, /^kersey: ADDRESS_NOT_LOCAL: --public-ip 203\.0\.113\.9 is on no interface/);
});

t.test('no /dev/net/tun', { skip: skip || skipUnlessInstalled('unshare') }, async (t) => {
  const w = await world(t);
  const hide = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$@"', 'sh'];
  await refused(t, w, /TUN_MISSING: \/dev\/net\/tun .*; .*modprobe tun/, {
    before: hide,
    dataplane: 'engine',
  });
});

t.test('no permission', { skip: skip || skipUnlessInstalled('setpriv') }, async (t) => {
  const w = await world(t);
  await run(['chmod', '755', w.lab.directory]);
  // tap has its own files written by every process of a test, which nobody may not.
  const nobody = ['env', '-u', 'NODE_OPTIONS', 'setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
  await refused(t, w, /PERMISSION: /, { before: nobody });
  const root = ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin'];
  await refused(t, w, /PERMISSION: .*flannel\.1/, { before: root });
});

t.test('a subnet file that cannot be written', { skip }, async (t) => {
  const w = await world(t);
  writeFileSync(path.join(w.lab.directory, 'file'), '');
  const subnetFile = path.join(w.lab.directory, 'file/subnet.env');
  await refused(t, { ...w, subnetFile }, /FILE_UNWRITABLE: .*file\/subnet\.env/);
});

t.test('the command line', async (t) => {
  const store = '--store=file:/nowhere.json';
  const wrong: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /no command was given/],
    [['nope'], /unknown command 'nope'/],
    [['up'], /--store/],
    [['up', store, '--nope'], /unknown option '--nope'; see `kersey up --help`/],
    [['up', store, 'extra'], /too many arguments/],
    [['up', store, '--disable', 'warp'], /--disable warp names no feature; .*udp-gso/],
    [['up', store, '--workers', '99'], /--workers 99.*1 to 16/],
    [['up', store, '-o', 'xml'], /--output xml/],
    [['up', '--store', 'redis:x'], /'redis:' is not a kind of store/],
    [['up', '--store', 'network.json'], /file:PATH/],
    [['status', '--nope'], /unknown option '--nope'; see `kersey status --help`/],
  ];
  for (const [argv, message] of wrong) {
    const { stderr, stdout, exitCode } = await run([...kersey, ...argv], { anyExit: true });
    t.equal(exitCode, 2, argv.join(' '));
    t.match(stderr, message);
    t.match(stderr, /^kersey: USAGE: [^\n]+; [^\n]+\n$/);
    t.equal(stdout, '');
  }
  const { stdout } = await run([...kersey, '--version']);
  t.match(stdout, /^\d+\.\d+\.\d+\n$/);
  t.match((await run([...kersey, 'up', '--help'])).stdout, /--store <store>/);
});

t.test(
  'stopped while it waits for the lock of the store: nothing is left, and that is no failure',
  { skip },
  async (t) => {
    const w = await world(t);
    const h1 = w.lab.host('h1');
    const locker = h1.spawn(['flock', `${w.store}.lock`, 'sh', '-c', 'echo locked; sleep 100']);
    await awaitCondition('the lock', () => locker.stdout.includes('locked'));
    const daemon = new Daemon(h1, w.store, w.lab.directory, ['--iface', 'eth0']);
    await awaitCondition(
      'the device',
      async () => (await h1.exec(['ip', 'link'])).stdout.includes('flannel.1'),
      {
        timeoutMs: 30_000,
      },
    );
    t.equal(await daemon.end(), 0);
    t.notMatch((await h1.exec(['ip', 'link'])).stdout, /flannel/);
    t.same(daemon.sockets(), []);
    t.same(JSON.parse(readFileSync(w.store, 'utf8')), good);
    await locker.stop();
  },
);
