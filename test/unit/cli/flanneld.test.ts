// The command line of flanneld, by running it. No etcd and no root: what it says before it asks for either.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import t, { type Test } from 'tap';

import { flanneldFlags } from '../../../src/cli/flanneld-flags.ts';
import { Background, run } from '../../../src/lab/command.ts';
import type { RunResult } from '../../../src/lab/command.ts';
import { awaitCondition } from '../../../src/lab/condition.ts';
import { nodeCommand } from '../../../src/lab/self.ts';

/** Nobody listens there: port 9 is never handed out. */
const nowhere = '--etcd-endpoints=http://127.0.0.1:9';
const command = (env: readonly string[], argv: readonly string[]): readonly string[] => [
  ...['/usr/bin/env', '-u', 'NODE_OPTIONS', 'KERSEY_STATE_DIR=/nonexistent', ...env],
  ...[...nodeCommand('cli/flanneld'), ...argv],
];
const flanneld = (...argv: readonly string[]): Promise<RunResult> =>
  run(command([], argv), { anyExit: true });

/** Starts it, waits for text in its log, ends it. @returns the log */
async function logOf(
  t: Test,
  wanted: RegExp,
  argv: readonly string[],
  env: readonly string[] = [],
): Promise<string> {
  const daemon = Background.start(command(env, [nowhere, ...argv]));
  await awaitCondition(
    `${String(wanted)} in the log`,
    () => {
      if (!daemon.running) throw daemon.failure();
      return wanted.test(daemon.stderr);
    },
    { timeoutMs: 20_000 },
  );
  daemon.kill('SIGTERM');
  t.equal(await daemon.exited, 0, 'stopped while it starts');
  t.equal(daemon.stdout, '');
  return daemon.stderr;
}

t.test('help and version go to stderr, and are no failures', async (t) => {
  for (const flag of ['-h', '--help']) {
    const { exitCode, stderr, stdout } = await flanneld(flag);
    t.equal(exitCode, 0);
    t.equal(stdout, '');
    t.match(stderr, /^Usage: flanneld \[OPTION\]\.\.\.\n {2}-etcd-cafile string\n/);
    for (const name of Object.keys(flanneldFlags)) t.match(stderr, new RegExp(`^  -${name}\\b`, 'm'), name);
  }
  const { exitCode, stderr } = await flanneld('--version', '--kube-subnet-mgr');
  t.equal(exitCode, 0);
  t.match(stderr, /^\d+\.\d+\.\d+\n$/);
});

t.test('what cannot be is one line and a code', async (t) => {
  const wrong: readonly (readonly [readonly string[], 1 | 2, RegExp])[] = [
    [['-nope'], 2, /USAGE: flag provided but not defined: -nope; see --help/],
    [['-ip-masq=maybe'], 2, /USAGE: invalid boolean value "maybe" for -ip-masq/],
    [['--healthz-port=x'], 2, /USAGE: invalid value "x" for flag -healthz-port: parse error/],
    [['--healthz-port=70000'], 2, /USAGE: -healthz-port 70000/],
    [['--subnet-lease-renew-margin=0'], 2, /USAGE: -subnet-lease-renew-margin 0 .*1 to 1439/],
    [['--subnet-lease-renew-margin', '1440'], 2, /USAGE: -subnet-lease-renew-margin 1440/],
    [['--kube-subnet-mgr'], 1, /BACKEND_UNSUPPORTED: -kube-subnet-mgr/],
  ];
  for (const [argv, code, message] of wrong) {
    const { exitCode, stderr } = await flanneld(...argv);
    t.equal(exitCode, code, argv.join(' '));
    t.match(stderr, message);
    t.match(stderr, /^flanneld: [^\n]+\n$/);
  }
});

t.test('passwords are not in the log, wherever they come from', async (t) => {
  const fromFlag = await logOf(t, /flags: .*etcd-username/, [
    '--etcd-username=me',
    '--etcd-password',
    'hush-hush',
  ]);
  t.match(fromFlag, /-etcd-password=\(not shown\)/);
  t.notMatch(fromFlag, /hush-hush/);
  const env = ['FLANNELD_ETCD_USERNAME=me', 'FLANNELD_ETCD_PASSWORD=hush-hush', 'FLANNELD_V=1'];
  const fromEnv = await logOf(t, /flags: .*etcd-username/, [], env);
  t.match(fromEnv, /-etcd-password=\(not shown\)/);
  t.match(fromEnv, /-subnet-lease-renew-margin=60/, 'with -v every flag');
  t.notMatch(fromEnv, /hush-hush/);
  const { stderr } = await flanneld('--etcd-endpoints=http://me:hush-hush@127.0.0.1:9');
  t.match(stderr, /USAGE: an endpoint of etcd has a user in it/);
  t.notMatch(stderr, /hush-hush/);
});

t.test('what has no effect is said', async (t) => {
  const argv = ['-kube-api-url=http://x', '-vmodule=a=1', 'stray', '--public-ip=192.0.2.1'];
  const log = await logOf(t, /-vmodule/, argv, ['FLANNELD_HEALTHZ_PORT=soon', 'FLANNELD_VERSION=true']);
  t.match(log, /FLANNELD_HEALTHZ_PORT is .*soon.*parse error.*default 0/);
  t.match(log, /'stray' is no flag: it and the 1 arguments after it/);
  t.match(log, /-kube-subnet-mgr is not given: -kube-api-url/);
  t.notMatch(log, /flags: .*public-ip/);
});

t.test('a port for health that is taken', async (t) => {
  const server = createServer();
  t.teardown(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { exitCode, stderr } = await flanneld(nowhere, '--healthz-ip=127.0.0.1', `--healthz-port=${port}`);
  t.equal(exitCode, 1);
  t.match(
    stderr,
    new RegExp(`^flanneld: PORT_IN_USE: health cannot be served on 127\\.0\\.0\\.1:${port}`, 'm'),
  );
});
