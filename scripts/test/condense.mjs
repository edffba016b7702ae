// @ts-check
// tap's stream for a log file: a line for each test file that passed, the reasons of its skips, and all of a
// file that failed.

/**
 * @param {(text: string) => void} print
 * @returns {(line: string) => void} to be given each line of the stream, without its newline
 */
export function condenser(print) {
  /** @type {string[]} */
  let file = []; // what is known of the test file being read
  let failed = false;
  return (line) => {
    if (line.startsWith('# Subtest: ')) {
      file = [];
      failed = false;
    } else if (/^(not )?ok \d+ - /.test(line)) {
      failed = line.startsWith('not ');
      const skips = file.filter((text) => text.includes('# SKIP')).map((text) => `    ${text.trim()}`);
      for (const text of failed ? file : skips) print(`${text}\n`);
      print(`${line.replace(/ \d+ - /, ' ')}\n`);
      file = [];
    } else if (line.startsWith(' ')) {
      // A failed file is followed by its exit status and arguments, indented as its tests were.
      if (failed) print(`${line}\n`);
      else file.push(line);
    }
  };
}
