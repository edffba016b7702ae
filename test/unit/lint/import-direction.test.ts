import { RuleTester } from 'eslint';
import path from 'node:path';
import t from 'tap';
import tseslint from 'typescript-eslint';

import { importDirection, refusal, ROOMS } from '../../../scripts/lint/import-direction.mjs';

const root = path.join(import.meta.dirname, '../../../src');
const options = { root, dependencies: ['pino', '@scope/thing'] };
const at = (file: string): string => path.join(root, file);
const allows = (from: string, to: string): boolean => refusal(at(from), to, options) === undefined;

t.test('an import that points downward passes', (t) => {
  t.ok(allows('cli/up.ts', '../node/node.ts'));
  t.ok(allows('cli/demo.ts', '../lab/lab.ts'));
  t.ok(allows('node/node.ts', '../engine/engine.ts'));
  t.ok(allows('store/file/file-store.ts', '../../config/network.ts'));
  t.ok(allows('netlink/client.ts', '../net/cidr.ts'));
  t.ok(allows('net/cidr.ts', '../errors.ts'), 'everybody may raise the error class');
  t.ok(allows('netlink/client.ts', '../native/loader.ts'), 'everybody may load the addon');
  t.ok(allows('node/reconcile.ts', './desired.ts'), 'a room imports itself');
  t.end();
});

t.test('an import that points upward or sideways is refused', (t) => {
  t.notOk(allows('net/cidr.ts', '../config/network.ts'));
  t.notOk(allows('node/node.ts', '../cli/up.ts'));
  t.notOk(allows('store/lease.ts', '../node/desired.ts'));
  t.notOk(allows('engine/engine.ts', '../netlink/client.ts'));
  t.notOk(allows('native/loader.ts', '../engine/engine.ts'));
  for (const room of ['engine', 'netlink', 'backend']) {
    t.notOk(allows('observe/status.ts', `../${room}/x.ts`), `observe does not know ${room}`);
  }
  t.end();
});

t.test('packages', (t) => {
  t.ok(allows('node/node.ts', 'pino'));
  t.ok(allows('node/node.ts', '@scope/thing/part'));
  t.match(refusal(at('node/node.ts'), 'tap', options), /not in "dependencies"/);
  t.match(refusal(at('cni/plugin.ts'), 'pino', options), /no third-party/);
  t.ok(allows('cni/plugin.ts', 'node:fs'));
  t.notOk(allows('cni/plugin.ts', '../net/ip.ts'), 'net brings a package with it');
  t.end();
});

t.test('the edges of src', (t) => {
  t.match(refusal(at('node/node.ts'), '../../test/lib/x.ts', options), /outside src/);
  t.match(refusal(at('attic/x.ts'), '../errors.ts', options), /no place in the import order/);
  t.ok(allows('../test/unit/x.test.ts', '../../src/cli/up.ts'), 'tests import what they like');
  t.end();
});

t.test('the table itself has no cycle', (t) => {
  const cycles: string[] = [];
  const visit = (room: string, trail: readonly string[]): void => {
    if (trail.includes(room)) cycles.push([...trail, room].join(' -> '));
    else for (const next of ROOMS[room] ?? []) visit(next, [...trail, room]);
  };
  for (const room of Object.keys(ROOMS)) visit(room, []);
  t.strictSame(cycles, []);
  t.end();
});

t.test('as ESLint runs it: every kind of import is seen', (t) => {
  // RuleTester reports through these hooks, and throws from run() when they are plain calls.
  const now = (_text: string, run: () => void): void => {
    run();
  };
  RuleTester.describe = now;
  RuleTester.it = now;
  const tester = new RuleTester({
    languageOptions: { parser: tseslint.parser, ecmaVersion: 2023, sourceType: 'module' },
  });
  const filename = at('net/cidr.ts');
  const errors = [{ messageId: 'refused' }];
  const refused = (code: string) => ({ code, filename, options: [options], errors });
  t.doesNotThrow(() => {
    tester.run('import-direction', importDirection, {
      valid: [{ code: "import { KerseyError } from '../errors.ts';", filename, options: [options] }],
      invalid: [
        refused("import { up } from '../cli/up.ts';"),
        refused("import type { Up } from '../cli/up.ts';"),
        refused("import '../cli/up.ts';"),
        refused("export { up } from '../cli/up.ts';"),
        refused("export * from '../cli/up.ts';"),
        refused("const up = await import('../cli/up.ts');"),
        refused("type Up = import('../cli/up.ts').Up;"),
      ],
    });
  });
  t.end();
});
