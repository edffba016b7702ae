import t from 'tap';

import { condenser } from '../../../scripts/test/condense.mjs';
import { closingLine, skipsOfJunit, sum, tallyOfJunit, tallyOfTap } from '../../../scripts/test/tally.mjs';

t.test('counts are read from what the runners write', (t) => {
  const tap = '    # { total: 9, pass: 9 }\n# { total: 4, pass: 2, fail: 1, skip: 1 }\n# time=1ms\n';
  t.strictSame(tallyOfTap(tap), { passed: 2, failed: 1, skipped: 1 });
  t.equal(tallyOfTap('ok 1 - cut off'), undefined);
  const junit = '<?xml?>\n<testsuite name="x"\n\ttests="5"\n\tfailures="1"\n\tdisabled="0"\n\tskipped="1">';
  t.strictSame(tallyOfJunit(junit), { passed: 3, failed: 1, skipped: 1 });
  t.equal(tallyOfJunit(''), undefined);
  t.end();
});

t.test('a skipped C test gives its reason', (t) => {
  const junit = `<testsuite>
\t<testcase name="a" classname="a" time="0.1" status="run">
\t\t<system-out>fine
</system-out>
\t</testcase>
\t<testcase name="b" classname="b" time="0.1" status="notrun">
\t\t<skipped message="SKIP_RETURN_CODE=77"/>
\t\t<properties/>
\t\t<system-out>tried
skip: no &apos;vxlan&apos; &amp; no &lt;module&gt;
</system-out>
\t</testcase>
</testsuite>`;
  t.strictSame(skipsOfJunit(junit), [{ name: 'b', reason: "skip: no 'vxlan' & no <module>" }]);
  t.end();
});

t.test('they end in one line', (t) => {
  const all = sum([
    { passed: 2, failed: 0, skipped: 0 },
    { passed: 3, failed: 1, skipped: 2 },
  ]);
  t.equal(closingLine(all), '5 passed, 1 failed, 2 skipped');
  t.equal(closingLine(sum([])), '0 passed, 0 failed');
  t.end();
});

t.test('a log shows passed files in a line, their skips, and failed files whole', (t) => {
  let log = '';
  const take = condenser((text) => {
    log += text;
  });
  const stream = `TAP version 14
1..2
# Subtest: test/a.test.ts
    ok 1 - adds
    # Subtest: deeper
        ok 1 - needs vxlan # SKIP no module
ok 1 - test/a.test.ts # time=5ms

# Subtest: test/b.test.ts
    not ok 1 - divides
      ---
      ...
not ok 2 - test/b.test.ts # time=6ms
  ---
  stdio: inherit
  args:
    - /x
  exitCode: 1
  ...

# { total: 3, pass: 1, fail: 1, skip: 1 }`;
  for (const line of stream.split('\n')) take(line);
  t.equal(
    log,
    `ok test/a.test.ts 5ms
    skipped: needs vxlan (no module)
not ok test/b.test.ts 6ms
    not ok 1 - divides
      ---
      ...
  ---
  exitCode: 1
  ...
`,
  );
  t.end();
});
