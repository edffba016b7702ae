import { copyFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';

import { EtcdClient } from '../../src/store/etcd/client.ts';
import type { EtcdTls } from '../../src/store/etcd/options.ts';
import { makeCertificates } from '../lib/certificates.ts';
import { EtcdCluster } from '../lib/etcd-server.ts';
import { skipUnlessInstalled } from '../lib/requirements.ts';
import { TcpProxy } from '../lib/tcp-proxy.ts';
import { ownDirectory } from '../unit/store/file/fixtures/own-directory.ts';

const skip = skipUnlessInstalled('etcd', 'etcdctl', 'openssl');
if (skip !== false) {
  t.plan(0, skip);
  process.exit(0);
}
const etcd = await EtcdCluster.start({ tls: true });
t.teardown(() => etcd.close());
const { certificates } = etcd;
if (certificates === undefined) throw new Error('a cluster with TLS has certificates');
const { ca, client } = certificates;

function open(t: Test, tls: EtcdTls, endpoints = etcd.endpoints): EtcdClient {
  const kv = new EtcdClient({ endpoints, tls, timing: { call: 1500 } });
  t.teardown(() => kv.close());
  return kv;
}

t.test('with the authority and a client certificate, calls and watches', async (t) => {
  const warnings: Error[] = [];
  const warned = (warning: Error): void => {
    warnings.push(warning);
  };
  process.on('warning', warned);
  t.teardown(() => process.off('warning', warned));
  const kv = open(t, { ca, ...client });
  const { revision } = await kv.range({ prefix: '/' });
  const watch = kv.watch('/', revision + 1n, new AbortController().signal)[Symbol.asyncIterator]();
  t.strictSame((await watch.next()).value, { kind: 'connected' });
  await etcd.ctl(['put', '/a', '1']);
  t.match((await watch.next()).value, { kind: 'events' });
  t.strictSame(warnings, [], 'Node has nothing to say about an address as server name');
});

t.test('by name', async (t) => {
  const kv = open(t, { ca, ...client }, [`https://localhost:${etcd.first.port}`]);
  t.ok((await kv.range({ prefix: '/' })).revision > 0n);
});

t.test('a certificate without its key is not shown, and etcd wants one', async (t) => {
  await t.rejects(open(t, { ca, cert: client.cert }).range({ prefix: '/' }), {
    code: 'STORE_UNREACHABLE',
    message: /certificate/,
  });
});

t.test('another authority, or none, is no proof of who etcd is', async (t) => {
  const other = await makeCertificates(ownDirectory(t), 'other-');
  for (const tls of [{ ...client, ca: other.ca }, { ...client }]) {
    await t.rejects(open(t, tls).range({ prefix: '/' }), {
      code: 'STORE_UNREACHABLE',
      message: /certificate/,
    });
  }
});

t.test('a certificate for another address is none for this', async (t) => {
  const proxy = await TcpProxy.open(etcd.first.port);
  t.teardown(() => proxy.close());
  const kv = open(t, { ca, ...client }, [`https://[::ffff:127.0.0.1]:${proxy.port}`]);
  await t.rejects(kv.range({ prefix: '/' }), { code: 'STORE_UNREACHABLE', message: /IP|certificate/ });
});

t.test('plain TCP where TLS is spoken', async (t) => {
  const kv = open(t, {}, [`http://127.0.0.1:${etcd.first.port}`]);
  await t.rejects(kv.range({ prefix: '/' }), { code: 'STORE_UNREACHABLE' });
});

t.test('files that are not there or not PEM are named at once', async (t) => {
  const files = ownDirectory(t, { 'not.pem': 'no certificate' });
  const not = path.join(files, 'not.pem');
  const missing = path.join(files, 'missing.pem');
  const opening = (tls: EtcdTls) => () => new EtcdClient({ endpoints: etcd.endpoints, tls });
  t.throws(opening({ ca: missing }), {
    code: 'USAGE',
    message: `the authority of etcd, ${missing}, cannot be read: no such file or directory (ENOENT)`,
  });
  t.throws(opening({ ca, cert: client.cert, key: not }), { code: 'USAGE', message: new RegExp(not) });
  t.throws(
    opening({ ca, cert: client.cert, key: certificates.server.key }),
    { code: 'USAGE' },
    'another key',
  );
});

t.test('a renewed certificate is taken by the next connection', async (t) => {
  const files = ownDirectory(t);
  const stranger = await makeCertificates(files, 'stranger-');
  const own = { cert: path.join(files, 'cert.pem'), key: path.join(files, 'key.pem') };
  copyFileSync(stranger.client.cert, own.cert);
  copyFileSync(stranger.client.key, own.key);
  const kv = open(t, { ca, ...own });
  await t.rejects(kv.range({ prefix: '/' }), { code: 'STORE_UNREACHABLE' });
  writeFileSync(own.cert, 'half');
  await t.rejects(kv.range({ prefix: '/' }), { code: 'STORE_UNREACHABLE' }, 'while it is being written');
  copyFileSync(client.cert, own.cert);
  copyFileSync(client.key, own.key);
  t.ok((await kv.range({ prefix: '/' })).revision > 0n);
});
