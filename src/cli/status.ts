// `kersey status`: asks the daemons of this network namespace and shows what they say.

import { native } from '../native/loader.ts';
import { askDaemons } from '../observe/control.ts';
import { statusText } from '../observe/status-text.ts';
import type { Output } from './options.ts';

export interface StatusOptions {
  readonly runDir: string;
  readonly output: Output;
}

/** Text, or one JSON object a line for each daemon; nearly always there is one. */
export async function status(options: StatusOptions): Promise<void> {
  const statuses = await askDaemons(options.runDir);
  if (options.output === 'json') {
    process.stdout.write(statuses.map((status) => `${JSON.stringify(status)}\n`).join(''));
    return;
  }
  const meanings = new Map(
    native()
      .catalogue()
      .drops.map(({ name, text }) => [name, text]),
  );
  const color = process.stdout.isTTY && process.stdout.hasColors();
  const now = new Date();
  process.stdout.write(statuses.map((status) => statusText(status, { color, now, meanings })).join('\n'));
}
