import { readFileSync } from 'node:fs';
import t from 'tap';
import { KerseyError, errnoName, errnoText, errorCodes, oneLine } from '../../src/errors.ts';

function thrownBy(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

void t.test('codes are unique, in one style, and each has a meaning of one line', (t) => {
  const codes = errorCodes.map((entry) => entry.code);
  t.equal(new Set(codes).size, codes.length);
  for (const { code, meaning } of errorCodes) {
    t.match(code, /^[A-Z][A-Z0-9_]*$/);
    t.match(meaning, /^\S.*\.$/, code);
  }
  t.end();
});

void t.test('prints as one line whatever the message holds', (t) => {
  const error = new KerseyError('STORE_MALFORMED', 'key "a\nb\u001b[31m\u202e"', { remedy: 'correct\tit' });
  t.equal(error.line, 'STORE_MALFORMED: key "a\\nb\\u001b[31m\\u202e"; correct\\tit');
  t.equal(new KerseyError('INTERNAL', 'plain').line, 'INTERNAL: plain', 'nothing to advise, no semicolon');
  t.same(JSON.parse(JSON.stringify(error)), {
    code: error.code,
    message: error.message,
    remedy: error.remedy,
  });
  t.equal(oneLine('fd00::1 – ünïcode stays'), 'fd00::1 – ünïcode stays');
  t.end();
});

void t.test('from: ours stays, system refusals become PERMISSION, the rest INTERNAL with its cause', (t) => {
  const ours = new KerseyError('USAGE', 'x');
  t.equal(KerseyError.from(ours), ours);

  const refused = Object.assign(new Error("EACCES: permission denied, open '/x'"), { code: 'EACCES' });
  t.match(KerseyError.from(refused), { code: 'PERMISSION', cause: refused });

  const missing = thrownBy(() => readFileSync('/nonexistent/file'));
  t.match(KerseyError.from(missing), { code: 'INTERNAL', cause: missing });
  t.match(KerseyError.from('text'), { code: 'INTERNAL', message: 'text', cause: 'text' });
  t.match(
    KerseyError.from(
      thrownBy(() => {
        AbortSignal.abort().throwIfAborted();
      }),
    ),
    { code: 'INTERRUPTED' },
  );
  t.end();
});

void t.test('the reason of a failed system call', (t) => {
  const missing = thrownBy(() => readFileSync('/nonexistent/file'));
  t.equal(errnoName(missing), 'ENOENT');
  t.equal(errnoText(missing), 'no such file or directory (ENOENT)');
  t.equal(errnoName(thrownBy(() => readFileSync(''.padEnd(3, '\0')))), undefined, 'a Node error is no errno');
  t.equal(errnoName('ENOENT'), undefined);
  t.equal(
    errnoText(Object.assign(new Error('lock: EBADF'), { step: 'lock', errnoName: 'EBADF' })),
    'bad file descriptor (EBADF)',
  );
  t.equal(errnoText(new Error('plain')), 'plain');
  t.equal(errnoText(Object.assign(new Error('x'), { code: 'ENOTKNOWN' })), 'ENOTKNOWN');
  t.end();
});
