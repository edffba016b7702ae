// Waiting for a descriptor, on pipes: when the callback comes, and that nothing is left of a watch when it, its process
// or its thread ends.

import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';

import { awaitCondition } from '../../../src/lab/condition.ts';
import { native } from '../../../src/native/loader.ts';

const loader = pathToFileURL(path.resolve('src/native/loader.ts')).href;

/** Both ends of a pipe in one descriptor. */
function pipe(t: Test): number {
  const directory = mkdtempSync(path.join(tmpdir(), 'kersey-watch-'));
  t.teardown(() => {
    rmSync(directory, { recursive: true });
  });
  execFileSync('mkfifo', [path.join(directory, 'pipe')]);
  return openSync(path.join(directory, 'pipe'), constants.O_RDWR);
}

function refused(fd: number): unknown {
  try {
    native().watchOpen(fd, () => undefined);
  } catch (error) {
    return error;
  }
  return undefined;
}

async function turns(): Promise<void> {
  for (let i = 0; i < 10; i++) await setImmediate();
}

/** A program of its own; `native`, `fs`, `Worker` and `fifo`, which makes a pipe, are there. */
function program(t: Test, body: string): { readonly status: number | null; readonly text: string } {
  const directory = mkdtempSync(path.join(tmpdir(), 'kersey-watch-'));
  t.teardown(() => {
    rmSync(directory, { recursive: true });
  });
  const head = `
    import fs from 'node:fs';
    import { execFileSync } from 'node:child_process';
    import { Worker } from 'node:worker_threads';
    const { native: load } = await import(${JSON.stringify(loader)});
    const native = load();
    const directory = ${JSON.stringify(directory)};
    const fifo = () => {
      const name = directory + '/' + Math.random();
      execFileSync('mkfifo', [name]);
      return fs.openSync(name, 'r+');
    };`;
  const argv = ['--import', 'tsx', '--expose-gc', '--input-type=module', '--eval', head + body];
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, argv, {
    encoding: 'utf8',
    timeout: 60_000,
  });
  if (signal !== null) t.fail(`ended by ${signal}: ${stderr}`);
  return { status, text: `${stdout}${stderr}` };
}

t.test('one call, and one more each time it is armed', async (t) => {
  const fd = pipe(t);
  let calls = 0;
  const watch = native().watchOpen(fd, () => calls++);
  await turns();
  t.equal(calls, 0, 'none while there is nothing');
  writeSync(fd, 'a');
  await awaitCondition('the call', () => calls === 1);
  writeSync(fd, 'b');
  await turns();
  t.equal(calls, 1, 'none more, whatever comes');
  native().watchArm(watch);
  await awaitCondition('the second call', () => calls === 2);
  readSync(fd, Buffer.alloc(8));
  native().watchArm(watch);
  native().watchArm(watch);
  await turns();
  t.equal(calls, 2, 'none for what was read');
  writeSync(fd, 'c');
  await awaitCondition('the third call', () => calls === 3);
  native().watchClose(watch);
  closeSync(fd);
});

t.test('no call comes after it was closed, also when one was due', async (t) => {
  const fd = pipe(t);
  let calls = 0;
  const watch = native().watchOpen(fd, () => calls++);
  writeSync(fd, 'a');
  native().watchClose(watch);
  closeSync(fd);
  await turns();
  t.equal(calls, 0);
  t.throws(() => {
    native().watchArm(watch);
  }, /not an open watch/);
  t.throws(() => {
    native().watchClose(watch);
  }, /not an open watch/);
});

t.test(
  'it may be closed by its own callback, and the descriptor with it, and that is watched anew',
  async (t) => {
    for (let round = 0; round < 100; round++) {
      const fd = pipe(t);
      let calls = 0;
      const watch = native().watchOpen(fd, () => {
        calls++;
        native().watchClose(watch);
        closeSync(fd);
      });
      writeSync(fd, 'a');
      await awaitCondition('the call', () => calls === 1);
    }
  },
);

t.test('what cannot be watched is refused', async (t) => {
  const fd = pipe(t);
  const watch = native().watchOpen(fd, () => undefined);
  t.match(refused(fd), { step: 'watch', errnoName: 'EEXIST' });
  const file = openSync(import.meta.filename, 'r');
  t.match(refused(file), { errnoName: 'EPERM' });
  t.match(refused(1 << 20), { errnoName: 'EBADF' });
  t.throws(() => native().watchOpen(fd, 'no function' as unknown as () => void), TypeError);
  native().watchClose(watch);
  closeSync(fd);
  closeSync(file);
});

t.test('a callback that throws is an uncaught exception, and it goes on', (t) => {
  const { status, text } = program(
    t,
    `
    const fd = fifo();
    let calls = 0;
    const timer = setInterval(() => {}, 1000);
    process.on('uncaughtException', (error) => { console.log('uncaught', error.message); });
    const watch = native.watchOpen(fd, () => {
      native.watchArm(watch);
      calls++;
      if (calls === 1) throw new Error('first');
      console.log('second');
      native.watchClose(watch);
      clearInterval(timer);
    });
    fs.writeSync(fd, 'a');`,
  );
  t.equal(text, 'uncaught first\nsecond\n');
  t.equal(status, 0);
  const unheard = program(
    t,
    `
    const fd = fifo();
    native.watchOpen(fd, () => { throw new Error('nobody hears this'); });
    fs.writeSync(fd, 'a');
    setTimeout(() => {}, 60_000);`,
  );
  t.match(unheard.text, /nobody hears this/);
  t.equal(unheard.status, 1);
  t.end();
});

t.test('an open watch does not keep its process, and may be there when that ends', (t) => {
  t.same(program(t, `globalThis.kept = native.watchOpen(fifo(), () => {}); console.log('end');`), {
    status: 0,
    text: 'end\n',
  });
  t.same(program(t, `globalThis.kept = native.watchOpen(fifo(), () => {}); process.exit(3);`), {
    status: 3,
    text: '',
  });
  const inCallback = `const fd = fifo(); native.watchOpen(fd, () => process.exit(4)); fs.writeSync(fd, 'a'); setTimeout(() => {}, 60_000);`;
  t.same(program(t, inCallback), { status: 4, text: '' });
  t.end();
});

t.test('threads end with open watches, closing ones and forgotten ones', (t) => {
  const worker = `
    import fs from 'node:fs';
    import { parentPort, workerData } from 'node:worker_threads';
    const module = { exports: {} };
    process.dlopen(module, workerData.addon);
    const native = module.exports;
    const open = workerData.names.map((name) => fs.openSync(name, 'r+'));
    globalThis.kept = native.watchOpen(open[0], () => {});
    native.watchClose(native.watchOpen(open[1], () => {}));
    native.watchOpen(open[2], () => {});
    if (workerData.way === 'exit') process.exit(5);
    if (workerData.way === 'stay') {
      parentPort.postMessage('up');
      setInterval(() => {}, 1000);
    }`;
  const { status, text } = program(
    t,
    `
    const addon = process.report.getReport().sharedObjects.find((name) => name.endsWith('.node'));
    const { once } = await import('node:events');
    for (const way of ['end', 'exit', 'stay']) {
      const names = [0, 1, 2].map((i) => directory + '/' + way + i);
      for (const name of names) execFileSync('mkfifo', [name]);
      const thread = new Worker(${JSON.stringify(worker)}, { eval: true, execArgv: ['--input-type=module'], workerData: { addon, names, way } });
      const ended = once(thread, 'exit');
      if (way === 'stay') { await once(thread, 'message'); await thread.terminate(); }
      const [code] = await ended;
      console.log(way, code);
    }`,
  );
  t.equal(text, 'end 0\nexit 5\nstay 1\n');
  t.equal(status, 0);
  t.end();
});

t.test('what nobody holds is collected, in whatever order', (t) => {
  const { status, text } = program(
    t,
    `
    const fds = Array.from({ length: 20 }, fifo);
    for (let round = 0; round < 20; round++) {
      for (const fd of fds) native.watchOpen(fd, () => {});
      globalThis.gc();
      // The next round opens them again: only when all are gone that works.
      const deadline = Date.now() + 20_000;
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        try {
          for (const fd of fds) native.watchClose(native.watchOpen(fd, () => {}));
          break;
        } catch (error) {
          if (error.errnoName !== 'EEXIST' || Date.now() > deadline) throw error;
          globalThis.gc();
        }
      }
    }
    console.log('collected');`,
  );
  t.equal(text, 'collected\n');
  t.equal(status, 0);
  t.end();
});
