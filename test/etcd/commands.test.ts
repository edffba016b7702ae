// `kersey config` and `kersey leases` on real etcd: three members of which one is dead, users, TLS, and what etcdctl says.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';

import { Background, run } from '../../src/lab/command.ts';
import type { RunResult } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import { nodeCommand } from '../../src/lab/self.ts';
import { EtcdCluster } from '../lib/etcd-server.ts';
import type { EtcdOptions } from '../lib/etcd-server.ts';
import { skipUnlessInstalled } from '../lib/requirements.ts';

const skip = skipUnlessInstalled('etcd') || skipUnlessInstalled('etcdctl');
const program = ['/usr/bin/env', '-u', 'NODE_OPTIONS', ...nodeCommand('cli/main')];
const prefix = '/coreos.com/network';
const config = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';

interface World {
  readonly etcd: EtcdCluster;
  readonly store: readonly string[];
  readonly kersey: (...argv: readonly string[]) => Promise<RunResult>;
}

async function world(t: Test, options: EtcdOptions = {}): Promise<World> {
  const etcd = await EtcdCluster.start(options);
  t.teardown(() => etcd.close());
  const store = ['--store', `etcd:${etcd.endpoints.join(',')}`];
  const kersey = (...argv: readonly string[]): Promise<RunResult> =>
    run([...program, ...argv, ...store], { anyExit: true, timeoutMs: 60_000 });
  return { etcd, store, kersey };
}

t.test('the configuration, with one of three members dead', { skip }, async (t) => {
  const { etcd, kersey } = await world(t, { members: 3 });
  await etcd.first.stop('SIGKILL');
  const missing = await kersey('config', 'get');
  t.equal(missing.exitCode, 1);
  t.match(missing.stderr, /^kersey: CONFIG_MISSING: etcd:http[^\n]*\n$/);
  t.equal((await kersey('config', 'init', '--network', '10.5.0.0/16')).exitCode, 0);
  t.equal(await etcd.ctl(['get', `${prefix}/config`, '--print-value-only']), `${config}\n`);
  t.match((await kersey('config', 'init', '--network', '10.6.0.0/16')).stderr, /CONFIG_EXISTS/);

  const odd = '{ "network": "10.6.0.0/16",\n  "Backend": { "Type": "vxlan", "VNI": 9 } }';
  await etcd.ctl(['put', `${prefix}/config`, odd]);
  t.equal((await kersey('config', 'get')).stdout, `${odd}\n`, 'as it stands');
  t.match(JSON.parse((await kersey('config', 'get', '-o', 'json')).stdout), {
    Network: '10.6.0.0/16',
    Backend: { VNI: 9, Port: 8472 },
  });
  const folder = mkdtempSync(path.join(tmpdir(), 'ky-etcd-commands-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true });
  });
  const file = path.join(folder, 'config.json');
  writeFileSync(file, '{"Network":"10.6.0.0/16","SubnetLen":8,"Backend":{"Type":"vxlan"}}');
  const refused = await kersey('config', 'set', file);
  t.equal(refused.exitCode, 1);
  t.match(refused.stderr, /CONFIG_INVALID: .*config\.SubnetLen/);
  t.equal((await kersey('config', 'get')).stdout, `${odd}\n`, 'and nothing was written');
  writeFileSync(file, config);
  t.equal((await kersey('config', 'set', file)).exitCode, 0);
  t.equal(await etcd.ctl(['get', `${prefix}/config`, '--print-value-only']), `${config}\n`);
});

t.test('leases, beside those that etcdctl writes', { skip }, async (t) => {
  const { etcd, store, kersey } = await world(t);
  await etcd.ctl(['put', `${prefix}/config`, config]);
  const watch = Background.start([...program, 'leases', 'watch', ...store]);
  t.teardown(() => watch.stop());
  const seen = (line: string): Promise<unknown> =>
    awaitCondition(`${line} in ${watch.stdout}`, () => watch.stdout.split('\n').includes(line), {
      timeoutMs: 20_000,
    });

  const granted = /lease ([0-9a-f]+) granted/.exec(await etcd.ctl(['lease', 'grant', '7200']))?.[1] ?? '';
  const value =
    '{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}}';
  await etcd.ctl(['put', `--lease=${granted}`, `${prefix}/subnets/10.5.3.0-24`, value]);
  await awaitCondition(
    'the lease',
    () => /^added {5}10\.5\.3\.0\/24 {2}192\.0\.2\.1 {2}vxlan/m.test(watch.stdout),
    {
      timeoutMs: 20_000,
    },
  );
  await etcd.ctl(['put', `${prefix}/subnets/nonsense`, '{']);
  const table = await kersey('leases');
  t.match(table.stdout, /^warning: .*nonsense.*\nsubnet +public IP/);
  t.match(table.stdout, /^10\.5\.3\.0\/24 {2}192\.0\.2\.1 {2}vxlan {4}02:00:00:00:00:01 {2}in 1 h 59 min$/m);

  t.equal((await kersey('leases', 'reserve', '10.5.4.0/24', '--public-ip', '192.0.2.4')).exitCode, 0);
  t.equal(
    await etcd.ctl(['get', `${prefix}/subnets/10.5.4.0-24`, '--print-value-only']),
    '{"PublicIP":"192.0.2.4","PublicIPv6":null}\n',
  );
  await seen('added     10.5.4.0/24  192.0.2.4  -  -  reserved');
  const taken = await kersey('leases', 'reserve', '10.5.3.0/24', '--public-ip', '192.0.2.5');
  t.match([taken.exitCode, taken.stderr], [1, /SUBNET_OVERLAP: .*192\.0\.2\.1/]);
  t.equal((await kersey('leases', 'reserve', '10.5.3.0/24', '--public-ip', '192.0.2.1')).exitCode, 0);
  t.equal(await etcd.ctl(['get', `${prefix}/subnets/10.5.3.0-24`, '--print-value-only']), `${value}\n`);
  t.match(
    await etcd.ctl(['lease', 'timetolive', granted, '--keys']),
    /attached keys\(\[\]\)/,
    'it has no end now',
  );

  t.equal((await kersey('leases', 'release', '10.5.4.0/24')).exitCode, 0);
  await seen('removed   10.5.4.0/24  192.0.2.4  -  -  reserved');
  const gone = await kersey('leases', 'release', '10.5.4.0/24');
  t.match([gone.exitCode, gone.stderr], [1, /LEASE_MISSING/]);
});

t.test('users and TLS', { skip }, async (t) => {
  const { etcd, kersey } = await world(t, { tls: true });
  await etcd.ctl(['put', `${prefix}/config`, config]);
  const { ca, client } = etcd.certificates ?? { ca: '', client: { cert: '', key: '' } };
  const tls = ['--etcd-cafile', ca, '--etcd-certfile', client.cert, '--etcd-keyfile', client.key];
  t.equal((await kersey('config', 'get', ...tls)).stdout, `${config}\n`);

  const plain = await world(t);
  await plain.etcd.ctl(['put', `${prefix}/config`, config]);
  await plain.etcd.enableAuth({ flannel: 'hush-hush' });
  const user = ['--etcd-username', 'flannel'];
  const withVariable = await run(
    ['env', 'KERSEY_ETCD_PASSWORD=hush-hush', ...program, 'config', 'get', ...plain.store, ...user],
    { anyExit: true },
  );
  t.equal(withVariable.stdout, `${config}\n`);
  const wrong = await plain.kersey('config', 'get', ...user, '--etcd-password', 'not-this');
  t.equal(wrong.exitCode, 1);
  t.match(wrong.stderr, /^kersey: STORE_REFUSED: [^\n]+; [^\n]+\n$/);
  t.notMatch(wrong.stderr, /not-this/);
  t.match((await plain.kersey('config', 'get')).stderr, /STORE_REFUSED/);
});
