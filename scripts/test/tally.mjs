// @ts-check
// Counts of test results, and the line they end in.

/** @typedef {{ passed: number, failed: number, skipped: number }} Tally */

/** @type {Tally} */
export const NOTHING = { passed: 0, failed: 0, skipped: 0 };
/** A runner that failed without a count: it did not build, or died. @type {Tally} */
export const ONE_FAILURE = { passed: 0, failed: 1, skipped: 0 };

/**
 * @param {readonly Tally[]} tallies
 * @returns {Tally}
 */
export function sum(tallies) {
  return tallies.reduce(
    (all, one) => ({
      passed: all.passed + one.passed,
      failed: all.failed + one.failed,
      skipped: all.skipped + one.skipped,
    }),
    NOTHING,
  );
}

/** @param {Tally} tally */
export function closingLine({ passed, failed, skipped }) {
  const line = `${String(passed)} passed, ${String(failed)} failed`;
  return skipped === 0 ? line : `${line}, ${String(skipped)} skipped`;
}

/**
 * Reads the closing comment of a TAP stream, `# { total: 4, pass: 2, fail: 1, skip: 1 }`. Subtests have one
 * too, but indented.
 * @param {string} tap
 * @returns {Tally | undefined}
 */
export function tallyOfTap(tap) {
  const closing = [...tap.matchAll(/^# \{ (total: .*) \}$/gm)].at(-1)?.[1];
  if (closing === undefined) return undefined;
  const count = (/** @type {string} */ name) =>
    Number(new RegExp(`\\b${name}: (\\d+)`).exec(closing)?.[1] ?? 0);
  return { passed: count('pass'), failed: count('fail'), skipped: count('skip') + count('todo') };
}

/**
 * Reads the first element of the JUnit file that ctest writes.
 * @param {string} junit
 * @returns {Tally | undefined}
 */
export function tallyOfJunit(junit) {
  const suite = /<testsuite\b[^>]*>/.exec(junit)?.[0];
  if (suite === undefined) return undefined;
  const count = (/** @type {string} */ name) =>
    Number(new RegExp(`\\b${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
  const skipped = count('skipped') + count('disabled');
  return { passed: count('tests') - count('failures') - skipped, failed: count('failures'), skipped };
}

/**
 * Which C tests were skipped, and the last line each wrote: its reason.
 * @param {string} junit
 * @returns {{ name: string, reason: string }[]}
 */
export function skipsOfJunit(junit) {
  return [...junit.matchAll(/<testcase name="([^"]*)"[^>]*>(.*?)<\/testcase>/gs)].flatMap(
    ([, name, body]) => {
      if (name === undefined || body?.includes('<skipped') !== true) return [];
      const output = /<system-out>(.*?)<\/system-out>/s.exec(body)?.[1] ?? '';
      return [{ name, reason: unescapeXml(output.trimEnd().split('\n').at(-1) ?? '') }];
    },
  );
}

/** @param {string} text */
function unescapeXml(text) {
  return text
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&quot;/g, '"')
    .replace(/&apos;/g, "'")
    .replace(/&amp;/g, '&');
}
