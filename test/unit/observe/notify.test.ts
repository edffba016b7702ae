// What a service manager hears, by a listener that is not ours: Python's socket module.

import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';

import { Background } from '../../../src/lab/command.ts';
import { awaitCondition } from '../../../src/lab/condition.ts';
import { native } from '../../../src/native/loader.ts';
import type { Log } from '../../../src/observe/log.ts';
import { ServiceNotifier } from '../../../src/observe/notify.ts';
import { skipUnlessInstalled } from '../../lib/requirements.ts';

const skip = skipUnlessInstalled('python3');
const listen = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1].replace('@', '\\0', 1))
print('listening', flush=True)
if sys.argv[2] == 'wait': sys.stdin.readline()
while True: print(repr(s.recv(65536).decode()), flush=True)
`;

async function listener(t: Test, address: string, how: 'read' | 'wait' = 'read'): Promise<Background> {
  const python = Background.start(['python3', '-c', listen, address, how], { keep: Infinity });
  t.teardown(() => python.stop());
  await awaitCondition('the listener', () => python.stdout.startsWith('listening\n'));
  return python;
}

const heard = (python: Background): readonly string[] => python.stdout.trimEnd().split('\n').slice(1);

function journal(): Log & { readonly lines: string[] } {
  const lines: string[] = [];
  const note = (text: string): void => void lines.push(text);
  return { lines, info: note, warn: note, error: note };
}

function directory(t: Test): string {
  const made = mkdtempSync(path.join(tmpdir(), 'ky-notify-'));
  t.teardown(() => {
    rmSync(made, { recursive: true });
  });
  return made;
}

t.test('each message is one datagram, on a path and on an abstract address', { skip }, async (t) => {
  const random = randomBytes(8).toString('hex');
  const folder = directory(t);
  // The longest address there is: 108 bytes, with no room for a zero.
  const longest = `@${`kersey-${random}`.padEnd(107, 'x')}`;
  for (const address of [path.join(folder, 'notify'), `@kersey-${random}`, longest]) {
    const python = await listener(t, address);
    const log = journal();
    const notifier = new ServiceNotifier({ NOTIFY_SOCKET: address }, log);
    notifier.status('waiting');
    notifier.status('waiting');
    notifier.ready();
    notifier.status('10.5.1.0/24, 2 peers\nREADY=0');
    notifier.alive();
    notifier.stopping();
    await awaitCondition('five messages', () => heard(python).length >= 5);
    t.same(
      heard(python),
      [
        `'STATUS=waiting'`,
        `'READY=1'`,
        `'STATUS=10.5.1.0/24, 2 peers\\\\nREADY=0'`,
        `'WATCHDOG=1'`,
        `'STOPPING=1'`,
      ],
      address,
    );
    t.same(log.lines, []);
    notifier.close();
  }
});

t.test('a full queue delays, and loses nothing', { skip }, async (t) => {
  const address = path.join(directory(t), 'notify');
  const python = await listener(t, address, 'wait');
  let fillers = 0;
  try {
    for (;;) {
      native().notify(address, 'filler');
      fillers++;
    }
  } catch (error) {
    t.match(error, { errnoName: 'EAGAIN' });
  }
  t.ok(fillers > 0);
  const notifier = new ServiceNotifier({ NOTIFY_SOCKET: address }, journal());
  notifier.ready();
  notifier.stopping();
  python.write('\n');
  await awaitCondition('both', () => heard(python).length >= fillers + 2);
  t.same(heard(python).slice(fillers), [`'READY=1'`, `'STOPPING=1'`]);
  notifier.close();
});

t.test('nobody there, no socket, a bad one: said once at most', async (t) => {
  const folder = directory(t);
  for (const address of [path.join(folder, 'nobody'), 'relative', 'vsock:2:1', `/${'x'.repeat(108)}`]) {
    const log = journal();
    const notifier = new ServiceNotifier({ NOTIFY_SOCKET: address, WATCHDOG_USEC: '1000000' }, log);
    notifier.ready();
    notifier.stopping();
    t.equal(log.lines.length, 1, address);
    t.match(log.lines[0], `NOTIFY_SOCKET ${address}: `);
  }
  const unheard: string[] = [];
  const none = new ServiceNotifier(
    { WATCHDOG_USEC: '1000000' },
    journal(),
    (_path, text) => void unheard.push(text),
  );
  none.ready();
  t.same(unheard, []);
  t.equal(none.watchdog, undefined);
});

t.test('whether it watches us', async (t) => {
  const watchdog = (more: Record<string, string>): number | undefined =>
    new ServiceNotifier({ NOTIFY_SOCKET: '/x', ...more }, journal()).watchdog;
  t.equal(watchdog({ WATCHDOG_USEC: '30000000' }), 30_000);
  t.equal(watchdog({ WATCHDOG_USEC: '500', WATCHDOG_PID: String(process.pid) }), 0.5);
  t.equal(
    watchdog({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '1' }),
    undefined,
    'that was meant for another',
  );
  for (const odd of ['', '0', '-5', 'x', '1e3']) t.equal(watchdog({ WATCHDOG_USEC: odd }), undefined, odd);
});
