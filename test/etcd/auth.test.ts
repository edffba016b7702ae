import t, { type Test } from 'tap';

import { KerseyError } from '../../src/errors.ts';
import { EtcdClient } from '../../src/store/etcd/client.ts';
import { EtcdCluster } from '../lib/etcd-server.ts';
import { Watched } from '../lib/etcd-watched.ts';
import { skipUnlessInstalled } from '../lib/requirements.ts';

const skip = skipUnlessInstalled('etcd', 'etcdctl');
if (skip !== false) {
  t.plan(0, skip);
  process.exit(0);
}
const secret = 's3cret-of-flannel';
const etcd = await EtcdCluster.start({ args: ['--auth-token-ttl=1', '--bcrypt-cost=4'] });
t.teardown(() => etcd.close());

function open(t: Test, username?: string, password?: string, endpoints = etcd.endpoints): EtcdClient {
  const user = { ...(username !== undefined && { username }), ...(password !== undefined && { password }) };
  const kv = new EtcdClient({ endpoints, ...user, timing: { call: 3000 } });
  t.teardown(() => kv.close());
  return kv;
}

const put = (key: string) => ({ compare: [], success: [{ kind: 'put', key, value: '1' } as const] });

t.test('a user where nobody is asked for one', async (t) => {
  const kv = open(t, 'flannel', secret);
  t.ok((await kv.txn(put('/a'))).succeeded);

  await t.test('and from now on is', async (t) => {
    await etcd.enableAuth({ flannel: secret });
    t.ok((await kv.txn(put('/b'))).succeeded, 'logs in by itself');
    const lease = await kv.grant(100);
    t.ok((await kv.timeToLive(lease)) !== undefined);
    await kv.revoke(lease);
  });
});

t.test(
  'a wrong password, no user, and a user without the right are refused, and no password is told',
  async (t) => {
    const failure = async (promise: Promise<unknown>): Promise<KerseyError> =>
      promise.then(
        () => t.fail('was not refused') as never,
        (error: unknown) => KerseyError.from(error),
      );
    const wrong = await failure(open(t, 'flannel', 'wr0ng').range({ prefix: '/' }));
    t.equal(
      wrong.line,
      'STORE_REFUSED: etcd refused: authentication failed, invalid user ID or password; check the user name and the password',
    );
    t.notMatch(JSON.stringify([wrong, String(wrong.stack), String(wrong.cause)]), 'wr0ng');
    const nobody = await failure(open(t).range({ prefix: '/' }));
    t.equal(nobody.code, 'STORE_REFUSED');
    t.equal(nobody.remedy, 'etcd asks for a user: give a user name and a password');
    t.equal(
      (await failure(open(t, 'flannel').range({ prefix: '/' }))).remedy,
      nobody.remedy,
      'a name alone is no user',
    );
    const outside = await failure(open(t, 'flannel', secret).range({ prefix: 'outside' }));
    t.match(outside, { code: 'STORE_REFUSED', message: /permission denied/ });
  },
);

t.test('a token that expired, or that a restarted member forgot, is got anew', async (t) => {
  const kv = open(t, 'flannel', secret);
  await kv.txn(put('/before'));
  await etcd.first.restart();
  t.ok((await kv.txn(put('/after'))).succeeded, 'forgotten');
  // The token lives for a second after its last use.
  await new Promise((resolve) => setTimeout(resolve, 2500));
  t.ok((await kv.txn(put('/later'))).succeeded, 'expired');
});

t.test('a change of users and roles makes tokens old, and nobody notices', async (t) => {
  const kv = open(t, 'flannel', secret);
  await kv.range({ prefix: '/' });
  await etcd.ctl(['role', 'add', 'another']);
  t.ok((await kv.txn(put('/changed'))).succeeded);
});

t.test('a watch logs in, also when its token is forgotten', async (t) => {
  const kv = open(t, 'flannel', secret);
  const { revision } = await kv.range({ prefix: '/' });
  const watched = new Watched(kv, '/', revision + 1n);
  t.teardown(() => {
    watched.stop.abort();
  });
  t.equal(await watched.next(), 'connected');
  await etcd.ctl(['put', '/w', '1']);
  t.equal(await watched.next(), '/w=1');
  await etcd.first.restart();
  await etcd.ctl(['put', '/w', '2']);
  t.equal((await watched.until('/w=2')).at(-1), '/w=2');
});

t.test('a watch that is refused says so, and stands when it may', async (t) => {
  const kv = open(t, 'flannel', secret);
  const watched = new Watched(kv, 'elsewhere/', 1n);
  t.teardown(() => {
    watched.stop.abort();
  });
  t.equal(await watched.next(), 'lost STORE_REFUSED');
  await etcd.ctl(['role', 'grant-permission', 'below-slash', '--prefix=true', 'readwrite', 'elsewhere/']);
  t.equal(await watched.next(), 'connected');
});
