import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t from 'tap';

import { etcdAccess } from '../../../src/cli/store-options.ts';
import { openAdmin, openStore } from '../../../src/store/open.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'ky-store-options-'));
t.teardown(() => {
  rmSync(folder, { recursive: true });
});

t.test('the password may stand in three places', async (t) => {
  const file = path.join(folder, 'password');
  writeFileSync(file, 'from file\nnot this\n');
  const env = { KERSEY_ETCD_PASSWORD: 'from env' };
  const password = (flags: Parameters<typeof etcdAccess>[0]): string | undefined =>
    etcdAccess({ etcdUsername: 'me', ...flags }, env).password;
  t.equal(password({}), 'from env');
  t.equal(password({ etcdPasswordFile: file }), 'from file');
  t.equal(password({ etcdPassword: 'from argv' }), 'from argv');
  t.same(etcdAccess({}, env), {}, 'without a user the variable is nothing to us');
});

t.test('halves are refused, and passwords are not in the messages', async (t) => {
  const empty = path.join(folder, 'empty');
  writeFileSync(empty, '');
  const wrong: readonly (readonly [Parameters<typeof etcdAccess>[0], RegExp])[] = [
    [{ etcdUsername: 'me' }, /--etcd-username me has no password/],
    [{ etcdPassword: 'hush' }, /no --etcd-username/],
    [{ etcdUsername: 'me', etcdPassword: 'hush', etcdPasswordFile: empty }, /both --etcd-password and/],
    [{ etcdUsername: 'me', etcdPasswordFile: empty }, /is empty/],
    [{ etcdUsername: 'me', etcdPasswordFile: '/nowhere' }, /\/nowhere cannot be read: no such file/],
    [{ etcdCertfile: '/c' }, /--etcd-certfile is given without --etcd-keyfile/],
    [{ etcdKeyfile: '/c' }, /--etcd-keyfile is given without --etcd-certfile/],
  ];
  for (const [flags, message] of wrong) {
    t.throws(() => etcdAccess(flags, {}), { code: 'USAGE', message, remedy: /./ });
    t.throws(() => etcdAccess(flags, {}), { message: /^(?!.*hush)/ });
  }
  t.same(etcdAccess({ etcdCafile: '/ca' }, {}), { ca: '/ca' }, 'an authority alone is enough');
});

t.test('what a store cannot be', async (t) => {
  for (const open of [openStore, openAdmin]) {
    const usage = (store: string, message: RegExp, etcd = {}): void => {
      t.throws(() => open(store, { etcd }), { code: 'USAGE', message, remedy: /./ }, store);
    };
    usage('etcd:', /no endpoint/);
    usage('etcd: , ', /no endpoint/);
    usage('etcd:http://me:hush@h:2379', /^an endpoint of etcd has a user in it$/);
    usage('file:/x', /options for etcd/, { prefix: '/x' });
    usage('redis:x', /'redis:' is not a kind of store; there are file: and etcd:/);
    usage('x', /does not say which kind/);
  }
});
