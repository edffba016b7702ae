import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';

import { HealthServer } from '../../../src/observe/health.ts';
import type { Health } from '../../../src/observe/health.ts';

const starting: Health = { state: 'starting', ready: false, problems: [] };

t.test('texts and codes are those of flannel, and follow the node', async (t) => {
  let health = starting;
  const server = await HealthServer.open('127.0.0.1', 0, () => health);
  t.teardown(() => server.close());
  const get = async (path: string, method = 'GET'): Promise<readonly [number, string]> => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { method });
    return [response.status, await response.text()];
  };
  t.same(await get('/healthz'), [200, 'flanneld is running']);
  t.same(await get('/readyz'), [503, 'flanneld is not ready yet']);
  health = { state: 'ok', ready: true, problems: [] };
  t.same(await get('/readyz'), [200, 'flanneld is ready']);
  t.same(await get('/readyz', 'POST'), [200, 'flanneld is ready'], 'by any method');
  health = { state: 'degraded', ready: true, problems: ['STORE_UNREACHABLE'] };
  t.same(await get('/readyz'), [200, 'flanneld is ready'], 'degraded, and it forwards');
  const [code, text] = await get('/readyz?verbose');
  t.equal(code, 200);
  t.same(JSON.parse(text), { message: 'flanneld is ready', ...health });
  health = { state: 'degraded', ready: false, problems: ['ENGINE_FAILED'] };
  t.equal((await get('/readyz'))[0], 503, 'forwarding has stopped');
  t.equal((await get('/healthz?verbose'))[0], 200);
  t.same(await get('/metrics'), [503, ''], 'nothing to measure yet');
  for (const path of ['/', '/metrics/', '/healthz/x', '/readyz/']) t.equal((await get(path))[0], 404, path);
});

t.test('a port that is taken, an address that is not ours', async (t) => {
  const server = await HealthServer.open('127.0.0.1', 0, () => starting);
  t.teardown(() => server.close());
  await t.rejects(
    HealthServer.open('127.0.0.1', server.port, () => starting),
    {
      code: 'PORT_IN_USE',
      message: `health cannot be served on 127.0.0.1:${server.port}: another program listens there`,
      remedy: /--healthz-port/,
    },
  );
  await t.rejects(
    HealthServer.open('192.0.2.1', 0, () => starting),
    {
      code: 'ADDRESS_NOT_LOCAL',
      remedy: /--healthz-ip/,
    },
  );
});

t.test('closing waits for nobody who asks nothing', async (t) => {
  const server = await HealthServer.open('127.0.0.1', 0, () => starting);
  const silent = connect(server.port, '127.0.0.1');
  const gone = once(silent, 'close');
  await once(silent, 'connect');
  const { port } = server;
  await server.close();
  await gone;
  await server.close();
  await t.rejects(fetch(`http://127.0.0.1:${port}/healthz`));
});
