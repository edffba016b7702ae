import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { spawn } from 'node:child_process';
import t, { type Test } from 'tap';

import { KerseyError } from '../../../src/errors.ts';
import {
  askDaemon,
  askDaemons,
  controlDirectory,
  ControlServer,
  setDataplane,
} from '../../../src/observe/control.ts';
import type { ControlHandlers } from '../../../src/observe/control.ts';
import type { Status } from '../../../src/observe/status.ts';
import { exampleStatus } from './example.ts';

/** A daemon that answers with this status, whatever it is asked. */
function answering(status: () => Status | undefined): ControlHandlers {
  return { status, setDataplane: status };
}

function runDir(t: Test): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'kersey-control-'));
  t.teardown(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  return directory;
}

t.test('who asks gets the status, and only the owner may ask', async (t) => {
  const directory = runDir(t);
  let pid = 1;
  const server = await ControlServer.open(
    directory,
    'flannel.1',
    answering(() => ({ ...exampleStatus, pid: pid++ })),
  );
  t.equal(
    path.relative(directory, server.path),
    `${String(statSync('/proc/self/ns/net').ino)}/flannel.1.sock`,
  );
  t.equal(statSync(server.path).mode & 0o777, 0o600);
  t.same(await askDaemons(directory), [{ ...exampleStatus, pid: 1 }]);
  t.same(await askDaemons(directory), [{ ...exampleStatus, pid: 2 }], 'as it is at the time of asking');
  await server.close();
  t.equal(existsSync(controlDirectory(directory)), false, 'nothing is left');
  await server.close();
});

t.test('several daemons of one namespace', async (t) => {
  const directory = runDir(t);
  const servers = await Promise.all(
    [1, 7].map((vni) =>
      ControlServer.open(
        directory,
        `flannel.${vni}`,
        answering(() => ({ ...exampleStatus, pid: vni })),
      ),
    ),
  );
  t.same(
    (await askDaemons(directory)).map(({ pid }) => pid),
    [1, 7],
  );
  for (const server of servers) await server.close();
});

t.test('a daemon is told to change over, and says why it does not', async (t) => {
  const directory = runDir(t);
  const server = await ControlServer.open(directory, 'flannel.1', {
    status: () => exampleStatus,
    setDataplane: (wish) => {
      if (wish === 'kernel') throw new KerseyError('BACKEND_UNSUPPORTED', 'no', { remedy: 'do not' });
      return { ...exampleStatus, dataplane: { mode: 'engine', why: 'asked', wish } };
    },
  });
  t.match(await setDataplane(directory, 'engine'), [{ dataplane: { wish: 'engine', why: 'asked' } }]);
  await t.rejects(setDataplane(directory, 'kernel'), {
    code: 'BACKEND_UNSUPPORTED',
    message: 'no',
    remedy: 'do not',
  });
  for (const request of ['dataplane warp', 'dataplane', 'status twice', '', 'x'.repeat(150)]) {
    await t.rejects(askDaemon(server.path, request), { code: 'USAGE' }, request);
  }
  t.equal(await askDaemon(server.path, 'x'.repeat(1000)).catch(() => undefined), undefined, 'hung up on');
  t.same(await askDaemons(directory), [exampleStatus]);
  await server.close();
});

t.test('nobody there', async (t) => {
  const directory = runDir(t);
  await t.rejects(askDaemons(directory), { code: 'DAEMON_NOT_RUNNING', remedy: /kersey up/ });
});

t.test('a daemon that has no status yet counts as not there', async (t) => {
  const directory = runDir(t);
  const server = await ControlServer.open(
    directory,
    'flannel.1',
    answering(() => undefined),
  );
  await t.rejects(askDaemons(directory), { code: 'DAEMON_NOT_RUNNING' });
  await server.close();
});

t.test('of two that start together one runs', async (t) => {
  const directory = runDir(t);
  const opened = await Promise.allSettled(
    Array.from({ length: 5 }, () =>
      ControlServer.open(
        directory,
        'flannel.1',
        answering(() => exampleStatus),
      ),
    ),
  );
  const running = opened.filter((result) => result.status === 'fulfilled');
  t.equal(running.length, 1);
  t.match(opened.find((result) => result.status === 'rejected')?.reason, { code: 'DAEMON_RUNNING' });
  t.same(await askDaemons(directory), [exampleStatus]);
  await running[0]?.value.close();
});

t.test('the socket of a killed daemon is replaced', async (t) => {
  const directory = runDir(t);
  const file = path.join(controlDirectory(directory), 'flannel.1.sock');
  mkdirSync(path.dirname(file), { recursive: true });
  const script = `require('node:net').createServer().listen(${JSON.stringify(file)}, () => console.log('up'))`;
  const killed = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(killed.stdout, 'data');
  killed.kill('SIGKILL');
  await once(killed, 'exit');
  t.equal(existsSync(file), true);
  await t.rejects(askDaemons(directory), { code: 'DAEMON_NOT_RUNNING' });
  const server = await ControlServer.open(
    directory,
    'flannel.1',
    answering(() => exampleStatus),
  );
  t.same(await askDaemons(directory), [exampleStatus]);
  await server.close();
});

t.test('a client that goes away at once, and one that stays, harm nobody', async (t) => {
  const directory = runDir(t);
  const server = await ControlServer.open(
    directory,
    'flannel.1',
    answering(() => exampleStatus),
  );
  connect(server.path)
    .on('error', () => undefined)
    .destroy();
  const stays = connect({ path: server.path, allowHalfOpen: true });
  await once(stays, 'connect');
  t.same(await askDaemons(directory), [exampleStatus]);
  await server.close();
  stays.destroy();
});

t.test('places where no socket can be', async (t) => {
  const directory = runDir(t);
  const long = path.join(directory, 'x'.repeat(120));
  await t.rejects(
    ControlServer.open(
      long,
      'flannel.1',
      answering(() => exampleStatus),
    ),
    { code: 'USAGE', message: /too long/ },
  );
  writeFileSync(path.join(directory, 'file'), '');
  await t.rejects(
    ControlServer.open(
      path.join(directory, 'file'),
      'flannel.1',
      answering(() => exampleStatus),
    ),
    {
      code: 'FILE_UNWRITABLE',
    },
  );
});

t.test('a daemon that does not answer', async (t) => {
  const directory = runDir(t);
  const file = path.join(controlDirectory(directory), 'flannel.1.sock');
  mkdirSync(path.dirname(file), { recursive: true });
  const mute = createServer().listen(file);
  await once(mute, 'listening');
  const sockets: { destroy(): void }[] = [];
  mute.on('connection', (socket) => sockets.push(socket));
  await t.rejects(askDaemons(directory), { code: 'TIMEOUT' });
  for (const socket of sockets) socket.destroy();
  mute.close();
});
