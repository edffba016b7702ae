// @ts-check

import process from 'node:process';

/**
 * Waits for a child to end. Ctrl-C reaches the child from the terminal; we outlive it to report.
 * @param {import('node:child_process').ChildProcess} child
 * @returns {Promise<number>} its exit status; 1 when a signal ended it or it could not be started
 */
export async function exitOf(child) {
  const outlive = () => undefined;
  process.on('SIGINT', outlive);
  try {
    return await new Promise((resolve) => {
      child.once('error', (error) => {
        process.stderr.write(`kersey: ${child.spawnfile}: ${error.message}\n`);
        resolve(1);
      });
      child.once('close', (status) => {
        resolve(status ?? 1);
      });
    });
  } finally {
    process.off('SIGINT', outlive);
  }
}
