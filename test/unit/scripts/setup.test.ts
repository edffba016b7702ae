import { execFile, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';

import { missingPackages } from '../../../scripts/setup/packages.mjs';
import { withoutServices } from '../../../scripts/setup/services.mjs';
import { ownDirectory } from '../store/file/fixtures/own-directory.ts';

const root = path.join(import.meta.dirname, '../../..');

/** Set-up's exit status and what it printed, with `env` on top of ours. */
async function setup(args: readonly string[], env: Record<string, string> = {}) {
  return new Promise<{ status: number; stdout: string; stderr: string }>((resolve) => {
    const command = [path.join(root, 'scripts/setup.mjs'), ...args];
    const child = execFile(
      process.execPath,
      command,
      { env: { ...process.env, ...env } },
      (_error, stdout, stderr) => {
        resolve({ status: child.exitCode ?? -1, stdout, stderr });
      },
    );
  });
}

t.test('an unknown mode is a usage error that names the modes', async (t) => {
  const { status, stderr } = await setup(['everything']);
  t.equal(status, 2);
  t.match(stderr, /^kersey: set-up knows no mode 'everything'; use one of: .*\n$/);
});

t.test('a set-up with nothing to do says nothing', async (t) => {
  t.strictSame(await setup(['check']), { status: 0, stdout: '', stderr: '' });
});

t.test('a missing program names its package once, for its purpose only', (t) => {
  const { PATH } = process.env;
  t.teardown(() => {
    process.env['PATH'] = PATH;
  });
  process.env['PATH'] = '/nonexistent';
  const names = missingPackages(['build', 'test']).map(({ name }) => name);
  t.ok(names.includes('g++'));
  t.ok(names.includes('cmake'));
  t.equal(new Set(names).size, names.length);
  t.notOk(names.includes('iperf3'), 'the demo was not asked for');
  t.end();
});

t.test('no service is started while packages are installed, and the policy is gone afterwards', (t) => {
  const policy = path.join(ownDirectory(t), 'policy-rc.d');
  const installed = withoutServices(() => {
    t.equal(spawnSync(policy, ['etcd', 'start']).status, 101, 'Debian asks, and the answer is no');
    return true;
  }, policy);
  t.ok(installed);
  t.notOk(existsSync(policy));
  t.end();
});

t.test('a policy that the machine has stays as it is', (t) => {
  const policy = path.join(ownDirectory(t, { 'policy-rc.d': '#!/bin/sh\nexit 104\n' }), 'policy-rc.d');
  t.notOk(withoutServices(() => false, policy));
  t.equal(readFileSync(policy, 'utf8'), '#!/bin/sh\nexit 104\n');
  t.end();
});
