import { execFile } from 'node:child_process';
import path from 'node:path';
import t from 'tap';

import { missingPackages } from '../../../scripts/setup/packages.mjs';

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
