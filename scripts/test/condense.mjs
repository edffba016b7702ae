// @ts-check
// tap's stream for a log file: a line for each test file that passed, the reasons of its skips, and all of a
// file that failed.

/** What tap says of a failed file's process; only how it ended is worth a line. */
const PROCESS = /^ {2}(stdio|cwd|externalID|command|args):|^ {4}- /;

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
      print(`${line.replace(/ \d+ - /, ' ').replace('# time=', '')}\n`);
      for (const text of failed ? file : file.flatMap(skip)) print(`${text}\n`);
    } else if (failed) {
      if (line.startsWith(' ') && !PROCESS.test(line)) print(`${line}\n`);
    } else {
      file.push(line);
    }
  };
}

/** @param {string} line */
function skip(line) {
  const found = /^\s*ok \d+ - (.*) # SKIP ?(.*)$/.exec(line);
  return found === null ? [] : [`    skipped: ${found[1] ?? ''} (${found[2] ?? ''})`];
}
