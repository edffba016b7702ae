// `kersey demo` on a machine that lacks something: one line with a code and a remedy, and nothing half-made.

import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import t, { type Test } from 'tap';
import type { DemoResult } from '../../src/cli/demo.ts';
import { runKersey, type KerseyRun } from '../lib/kersey.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';
import { tracesOf } from '../lib/traces.ts';

const skip = skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('ip', 'ping', 'iperf3');

function oneLine(t: Test, run: KerseyRun, line: RegExp): void {
  t.equal(run.exitCode, 1);
  t.equal(run.stdout, '');
  const lines = run.stderr.split('\n').filter((text) => text.startsWith('kersey: '));
  t.equal(lines.length, 1, run.stderr);
  t.match(lines[0], line);
}

/** A PATH with these programs alone. */
function pathWith(directory: string, ...programs: readonly string[]): string {
  mkdirSync(directory, { recursive: true });
  for (const program of programs) {
    const found = spawnSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).stdout.trim();
    symlinkSync(found, join(directory, program));
  }
  return directory;
}

t.test('not root', { skip }, async (t) => {
  const under = ['setpriv', '--reuid=65534', '--clear-groups'];
  oneLine(t, await runKersey(['demo'], { under }), /^kersey: PERMISSION: .*root.*; .*sudo/);
});

t.test('no /dev/net/tun', { skip }, async (t) => {
  const under = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$@"', 'sh'];
  oneLine(
    t,
    await runKersey(['demo'], { under }),
    /^kersey: TUN_MISSING: \/dev\/net\/tun .*; .*modprobe tun/,
  );
});

t.test('a program is not installed', { skip }, async (t) => {
  const PATH = pathWith(join(t.testdir(), 'bin'), 'ip', 'ping');
  oneLine(
    t,
    await runKersey(['demo'], { env: { PATH } }),
    /^kersey: TOOL_MISSING: .*'iperf3'.*; .*apt-get install iperf3/,
  );
});

t.test('the daemon cannot start: its own words are shown', { skip }, async (t) => {
  const run = await runKersey(['demo'], { env: { KERSEY_NATIVE: '/nonexistent/kersey.node' } });
  oneLine(t, run, /^kersey: NATIVE_MISSING: kersey up on h\d: .*\/nonexistent/);
  t.same(tracesOf(run.pid), []);
});

t.test('no vxlan in the kernel: two hosts, and the reason is told', { skip }, async (t) => {
  const bin = pathWith(join(t.testdir(), 'bin'), 'bash', 'sh');
  const real = spawnSync('sh', ['-c', 'command -v ip'], { encoding: 'utf8' }).stdout.trim();
  const script = `case "$*" in *"type vxlan"*) echo "Error: Unknown device type." >&2; exit 2;; esac; exec ${real} "$@"`;
  writeFileSync(join(bin, 'ip'), `#!/bin/sh\n${script}\n`);
  chmodSync(join(bin, 'ip'), 0o755);
  const PATH = `${bin}:${process.env['PATH'] ?? ''}`;
  const run = await runKersey(['demo', '-o', 'json'], { env: { PATH } });
  t.equal(run.exitCode, 0, run.stderr);
  t.match(run.stderr, /no third host on kernel vxlan: Unknown device type/);
  const result = JSON.parse(run.stdout) as DemoResult;
  t.equal(result.kernelVxlanMissing, 'Unknown device type.');
  t.same(
    result.directions.map(({ from, to }) => `${from} ${to}`),
    ['h1 h2', 'h2 h1'],
  );
});

t.test('a daemon that dies meanwhile is the reason that is given', { skip }, async (t) => {
  const run = await runKersey(['demo'], {
    onStderr: (text, _kill, pid) => {
      // One direction is measured; the daemon of h1 has no say in the rest.
      if (text.includes('Gbit/s'))
        spawnSync('pkill', ['-KILL', '-f', `up .*--store file:/tmp/ky-${pid}-.*/h1/`]);
    },
  });
  oneLine(t, run, /^kersey: COMMAND_FAILED: kersey up on h1 was ended by SIGKILL/);
  t.same(tracesOf(run.pid), []);
});
