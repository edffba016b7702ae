// @ts-check
// TypeScript of proto/etcd.proto, which is committed: building Kersey needs no generator. Making it anew needs protoc
// (Debian: protobuf-compiler).
//
//     node scripts/generate-proto.mjs            writes src/store/etcd/gen/
//     node scripts/generate-proto.mjs --check    fails when that is not what would be written

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

import { runQuietly } from './setup/quiet.mjs';
import { ROOT } from './setup/root.mjs';

const PROTO = path.join(ROOT, 'proto');
const GENERATED = path.join(ROOT, 'src/store/etcd/gen');
const FILE = 'etcd_pb.ts';

const OPTIONS = 'target=ts,import_extension=none,erasable_syntax=true';

/** @param {string} out a folder @returns {boolean} whether it has the file now */
function generate(out) {
  const plugin = path.join(ROOT, 'node_modules/.bin/protoc-gen-es');
  // The plugin finds its Node by PATH.
  const PATH = [path.dirname(process.execPath), process.env['PATH'] ?? ''].join(':');
  const args = [`--plugin=protoc-gen-es=${plugin}`, `--es_out=${out}`, `--es_opt=${OPTIONS}`, 'etcd.proto'];
  return runQuietly('protoc', args, { cwd: PROTO, env: { ...process.env, PATH } });
}

/** @returns {boolean} whether the committed file is what the generator makes */
export function generatedIsFresh() {
  const folder = mkdtempSync(path.join(tmpdir(), 'kersey-proto-'));
  try {
    if (!generate(folder)) return false;
    const same = read(path.join(folder, FILE)) === read(path.join(GENERATED, FILE));
    if (!same) {
      const file = path.relative(ROOT, path.join(GENERATED, FILE));
      process.stderr.write(`${file} is not of proto/etcd.proto; run: node scripts/generate-proto.mjs\n`);
    }
    return same;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {string} file */
function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const done = process.argv[2] === '--check' ? generatedIsFresh() : generate(GENERATED);
  process.exit(done ? 0 : 1);
}
