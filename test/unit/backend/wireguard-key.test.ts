// The key of this host, with `wg` as the second opinion.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';

import { decodeKey, loadKey } from '../../../src/backend/wireguard/key.ts';
import { KerseyError } from '../../../src/errors.ts';
import { skipUnlessInstalled } from '../../lib/requirements.ts';
import { ownDirectory } from '../store/file/fixtures/own-directory.ts';

const skip = skipUnlessInstalled('wg');

function wg(command: string, input = ''): string {
  return spawnSync('wg', [command], { input, encoding: 'utf8' }).stdout.trim();
}

t.test('a key that is missing is made, and found again', (t) => {
  const directory = ownDirectory(t);
  const file = path.join(directory, 'run', 'wgkey');
  const key = loadKey(file);
  t.equal(statSync(file).mode & 0o7777, 0o400);
  t.equal(statSync(path.dirname(file)).mode & 0o7777, 0o755);
  t.equal(readFileSync(file, 'latin1'), key.privateKey, 'base64 without a newline');
  t.equal(key.privateKey.length, 44);
  t.same(readdirSync(path.dirname(file)), ['wgkey'], 'nothing else is left');
  t.same(loadKey(file), key);
  t.notSame(loadKey(path.join(directory, 'other')).privateKey, key.privateKey);
  t.end();
});

t.test('public keys are those of `wg pubkey`', { skip }, (t) => {
  const directory = ownDirectory(t);
  for (let n = 0; n < 20; n++) {
    const key = loadKey(path.join(directory, `made${n}`));
    t.equal(key.publicKey, wg('pubkey', key.privateKey));
    const file = path.join(directory, `given${n}`);
    const text = wg('genkey');
    writeFileSync(file, `${text}\n`);
    t.same(
      loadKey(file),
      { privateKey: text, publicKey: wg('pubkey', text) },
      'as `wg genkey > file` leaves it',
    );
  }
  t.end();
});

t.test('a key that is not clamped stands for the one that is', { skip }, (t) => {
  const file = path.join(ownDirectory(t), 'wgkey');
  const text = Buffer.alloc(32, 0xff).toString('base64');
  writeFileSync(file, text);
  const key = loadKey(file);
  t.equal(key.publicKey, wg('pubkey', text));
  t.equal(Buffer.from(key.privateKey, 'base64').toString('hex'), `f8${'ff'.repeat(30)}7f`);
  t.end();
});

t.test('what is no key is refused and stays, and is not repeated', (t) => {
  const file = path.join(ownDirectory(t), 'wgkey');
  const good = Buffer.alloc(32, 5).toString('base64');
  for (const text of ['', 'secret', good.slice(1), `${good}${good}`, Buffer.alloc(32).toString('base64')]) {
    writeFileSync(file, text);
    t.throws(() => loadKey(file), { code: 'CONFIG_INVALID', message: new RegExp(`^${file} does not hold`) });
    t.equal(readFileSync(file, 'latin1'), text);
  }
  t.equal(decodeKey(good.replace('=', '')), undefined, 'one form only');
  t.end();
});

t.test('where no file can be made is named', (t) => {
  const directory = ownDirectory(t, { file: '' });
  const file = path.join(directory, 'file', 'wgkey');
  try {
    loadKey(file);
    t.fail('there is a file in the way');
  } catch (error) {
    t.ok(error instanceof KerseyError && error.message.includes(file));
  }
  t.notOk(existsSync(file));
  t.end();
});

t.test('WIREGUARD_KEY_FILE names the file', (t) => {
  const file = path.join(ownDirectory(t), 'elsewhere');
  process.env['WIREGUARD_KEY_FILE'] = file;
  t.teardown(() => {
    delete process.env['WIREGUARD_KEY_FILE'];
  });
  const { privateKey } = loadKey();
  t.equal(readFileSync(file, 'latin1'), privateKey);
  t.end();
});
