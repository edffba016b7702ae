// The commands of the extension backend, with real scripts that keep a record of what they were told.

import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';

import { runCommand } from '../../../src/backend/extension/command.ts';
import type { CommandPeer, CommandsPlan } from '../../../src/backend/extension/commands-plan.ts';
import { awaitCondition } from '../../../src/lab/condition.ts';
import { ExtensionRunner } from '../../../src/node/devices/extension-runner.ts';
import type { ExtensionRunnerOptions } from '../../../src/node/devices/extension-runner.ts';
import { ownDirectory } from '../store/file/fixtures/own-directory.ts';

function peer(n: number, data = `data of ${n}`): CommandPeer {
  return {
    ...{ name: `10.5.${n}.0/24`, outer: `192.168.78.${n}`, input: `${data}\n` },
    variables: { SUBNET: `10.5.${n}.0/24`, PUBLIC_IP: `192.168.78.${n}` },
  };
}

/** A directory with a script `note`, a runner, and what the script has noted. */
class Scene {
  readonly directory: string;
  readonly runner: ExtensionRunner;
  readonly logged: string[] = [];
  readonly #record: string;
  readonly #note: string;

  constructor(t: Test, options: Partial<ExtensionRunnerOptions> = {}) {
    this.directory = ownDirectory(t);
    this.#record = path.join(this.directory, 'record');
    // One line a run; it fails as long as there is a file of the peer's name.
    this.#note = this.script(
      'note',
      `read -r data
       echo "$1 $SUBNET $PUBLIC_IP $data" >> ${this.#record}
       echo "output of $1"
       ! test -e ${this.directory}/fail-$PUBLIC_IP`,
    );
    const log = (message: string, fields: object = {}): void => {
      this.logged.push(`${message} ${JSON.stringify(fields)}`);
    };
    this.runner = new ExtensionRunner({
      log: { info: log, warn: log },
      retry: { from: 20, to: 40 },
      ...options,
    });
    t.teardown(() => this.runner.close());
  }

  script(name: string, text: string): string {
    const file = path.join(this.directory, name);
    writeFileSync(file, `#!/bin/sh\n${text}\n`);
    chmodSync(file, 0o755);
    return file;
  }

  plan(...peers: readonly CommandPeer[]): CommandsPlan {
    return { add: `${this.#note} add`, remove: `${this.#note} remove`, peers };
  }

  get start(): NonNullable<CommandsPlan['start']> {
    return { command: `${this.#note} start`, variables: { SUBNET: '10.5.1.0/24', PUBLIC_IP: 'own' } };
  }

  /** What was noted since the last call. */
  async noted(): Promise<readonly string[]> {
    await this.runner.idle();
    return this.record();
  }

  record(): readonly string[] {
    if (!existsSync(this.#record)) return [];
    const lines = readFileSync(this.#record, 'utf8')
      .split('\n')
      .filter((line) => line !== '');
    writeFileSync(this.#record, '');
    return lines;
  }
}

const added = (n: number, data = `data of ${n}`): string => `add 10.5.${n}.0/24 192.168.78.${n} ${data}`;
const removed = (n: number, data = `data of ${n}`): string => `remove 10.5.${n}.0/24 192.168.78.${n} ${data}`;

t.test('each difference runs one command, and what stays runs none', async (t) => {
  const scene = new Scene(t);
  const { runner } = scene;
  runner.want(scene.plan(peer(2), peer(3)));
  t.same(await scene.noted(), [added(2), added(3)]);
  runner.want(scene.plan(peer(3), peer(2)));
  t.same(await scene.noted(), [], 'nothing has changed');
  runner.want(scene.plan(peer(2, 'other'), peer(4)));
  t.same(await scene.noted(), [removed(3), added(2, 'other'), added(4)], 'first what has gone');
  runner.want(scene.plan());
  t.same(await scene.noted(), [removed(2, 'other'), removed(4)], 'told as it was told last');
  t.same(runner.problems, []);
  t.match(
    scene.logged[0],
    /^ran config\.Backend\.SubnetAddCommand for 10\.5\.2\.0\/24 of 192\.168\.78\.2 .*output of add/,
  );
});

t.test('what is wanted while a command runs counts when it has ended', async (t) => {
  const scene = new Scene(t);
  scene.runner.want(scene.plan(peer(2), peer(3), peer(4)));
  scene.runner.want(scene.plan(peer(2), peer(4)));
  scene.runner.want(scene.plan(peer(2, 'newest'), peer(4)));
  const lines = await scene.noted();
  t.same(
    lines.filter((line) => line.includes('10.5.3.0')),
    [],
    'not run for a peer that came and went',
  );
  t.ok(lines.includes(added(2, 'newest')));
});

t.test('start comes first and once, and holds the others up until it went well', async (t) => {
  const scene = new Scene(t, { retry: { from: 20, to: 20 } });
  const { runner, start } = scene;
  writeFileSync(path.join(scene.directory, 'fail-own'), '');
  runner.want({ ...scene.plan(peer(2)), start });
  const [first, ...more] = await scene.noted();
  t.match(first, /^start 10\.5\.1\.0\/24 own/);
  t.same(more, []);
  t.match(runner.problems, [
    { code: 'COMMAND_FAILED', message: /^config\.Backend\.PostStartupCommand: it ended with code 1/ },
  ]);
  rmSync(path.join(scene.directory, 'fail-own'));
  const after = await awaitCondition('the next try', async () => {
    const lines = await scene.noted();
    return lines.includes(added(2)) && lines;
  });
  t.match(after, [/^start/, added(2)]);
  t.same(runner.problems, []);
  runner.want({ ...scene.plan(peer(2)), start });
  t.same(await scene.noted(), []);
});

t.test('a failed add is a problem, is tried again, and holds nobody up', async (t) => {
  const scene = new Scene(t);
  const { runner } = scene;
  const cause = path.join(scene.directory, 'fail-192.168.78.2');
  writeFileSync(cause, '');
  runner.want(scene.plan(peer(2), peer(3)));
  const [first, second, ...tries] = await scene.noted();
  t.same([first, second], [added(2), added(3)]);
  // Where adding 3 took longer than the wait.
  t.ok(tries.every((line) => line === added(2)));
  t.match(runner.problems, [
    {
      code: 'COMMAND_FAILED',
      message:
        'config.Backend.SubnetAddCommand for 10.5.2.0/24 of 192.168.78.2: it ended with code 1: output of add',
    },
  ]);
  await awaitCondition('the next try', () => scene.record().includes(added(2)));
  rmSync(cause);
  await awaitCondition('the problem to go', () => runner.problems.length === 0);
  await scene.noted();

  writeFileSync(cause, '');
  runner.want(scene.plan(peer(2, 'other'), peer(3)));
  await scene.noted();
  t.equal(runner.problems.length, 1);
  runner.want(scene.plan(peer(3)));
  t.same((await scene.noted()).at(-1), removed(2, 'other'), 'what was half done is undone');
  t.same(runner.problems, [], 'who has gone is no problem, even when that failed as well');
});

t.test('a command that does not end is killed with all it started', async (t) => {
  const scene = new Scene(t, { timeLimit: 300 });
  const pidFile = path.join(scene.directory, 'pid');
  const add = scene.script('hang', `sleep 1000 & echo $! > ${pidFile}; echo waiting; wait`);
  scene.runner.want({ add, peers: [peer(2)] });
  await scene.runner.idle();
  t.match(scene.runner.problems, [
    { message: /for 10\.5\.2\.0\/24 of 192\.168\.78\.2: it had not ended after 0\.3 s: waiting$/ },
  ]);
  await gone(Number(readFileSync(pidFile, 'utf8')));
  t.pass('and its child with it');
});

t.test('at the end what runs is killed and nothing more is run', async (t) => {
  const scene = new Scene(t);
  const pidFile = path.join(scene.directory, 'pid');
  const add = scene.script(
    'hang',
    `sleep 1000 & echo $! > ${pidFile}.new; mv ${pidFile}.new ${pidFile}; wait`,
  );
  scene.runner.want({ add, peers: [peer(2), peer(3)] });
  await awaitCondition('the command to run', () => existsSync(pidFile));
  await scene.runner.close();
  await gone(Number(readFileSync(pidFile, 'utf8')));
  scene.runner.want(scene.plan(peer(4)));
  t.same(await scene.noted(), []);
  t.same(scene.runner.problems, [], 'to be stopped is no problem');
});

t.test('what a command leaves running is not waited for', async (t) => {
  const scene = new Scene(t);
  const pidFile = path.join(scene.directory, 'pid');
  const script = scene.script('daemon', `sleep 1000 & echo $! > ${pidFile}; echo started`);
  const output = await runCommand({ what: 'it', command: script, signal: new AbortController().signal });
  const pid = Number(readFileSync(pidFile, 'utf8'));
  t.equal(output, 'started');
  t.equal(process.kill(pid, 0), true, 'it lives on');
  process.kill(pid);
});

t.test('what cannot be run says why', async (t) => {
  const scene = new Scene(t);
  const { signal } = new AbortController();
  const plain = path.join(scene.directory, 'plain');
  writeFileSync(plain, 'no script');
  for (const [command, message] of [
    ['/nowhere/at-all x', /there is no program '\/nowhere\/at-all'/],
    ['$NOTHING', /names no program/],
    [plain, /cannot be run: permission denied/],
    ['echo \u0000', /cannot be run/],
  ] as const) {
    await t.rejects(runCommand({ what: 'it', command, signal }), { code: 'COMMAND_FAILED', message });
  }
  const ended = new AbortController();
  ended.abort();
  await t.rejects(runCommand({ what: 'it', command: 'true', signal: ended.signal }), { name: 'AbortError' });
});

t.test('much input and output do no harm', async (t) => {
  const { signal } = new AbortController();
  const input = 'x'.repeat(1 << 20);
  t.equal(
    (await runCommand({ what: 'it', command: 'cat', input, signal })).length,
    65_536,
    'no more is kept',
  );
  t.equal(await runCommand({ what: 'it', command: 'wc -c', input, signal }), String(1 << 20));
  t.equal(await runCommand({ what: 'it', command: 'true', input, signal }), '', 'nobody reads it');
});

async function gone(pid: number): Promise<void> {
  await awaitCondition('the process to go', () => {
    try {
      return readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ');
    } catch {
      return true;
    }
  });
}
