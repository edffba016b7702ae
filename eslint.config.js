// @ts-check
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

import { importDirection } from './scripts/lint/import-direction.mjs';

const root = import.meta.dirname;
const manifest = /** @type {{ dependencies: Record<string, string> }} */ (
  JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
);

export default defineConfig(
  { ignores: ['dist/', 'build/', 'prebuilds/', '.tap/', '.cache/', 'src/store/etcd/gen/'] },
  tseslint.configs.strictTypeChecked,
  tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: root } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      // In a daemon a promise nobody waits for is a failure nobody sees. tap keeps its own subtests.
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafePromises: [
            { from: 'package', name: 'PromiseWithSubtest', package: '@tapjs/core' },
          ],
        },
      ],
      // Numbers print as themselves; objects, null and undefined in a template are mistakes.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // A switch over a state union names every state, or has a default that says what is meant.
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      // `async` on a method that implements an asynchronous interface needs no `await` to be right.
      '@typescript-eslint/require-await': 'off',
      // The compiler's noPropertyAccessFromIndexSignature asks for counters['rx'].
      '@typescript-eslint/dot-notation': ['error', { allowIndexSignaturePropertyAccess: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      // `_name` marks what a signature demands and the body does not use.
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrorsIgnorePattern: '^_' },
      ],
      eqeqeq: 'error',
    },
  },
  {
    // In plain JavaScript a cast is a comment, which this rule does not see. tsc still does.
    files: ['**/*.{js,mjs}'],
    rules: { '@typescript-eslint/no-unsafe-assignment': 'off' },
  },
  {
    files: ['src/**/*.ts'],
    plugins: { kersey: { rules: { 'import-direction': importDirection } } },
    rules: {
      'kersey/import-direction': [
        'error',
        { root: path.join(root, 'src'), dependencies: Object.keys(manifest.dependencies) },
      ],
    },
  },
);
