// `kersey dataplane`: who carries the packets of this network namespace's daemon, and changing that while it runs.

import type { DataplaneWish } from '../node/dataplane.ts';
import { askDaemons, setDataplane } from '../observe/control.ts';
import { dataplaneText } from '../observe/status-text.ts';
import type { StatusOptions } from './status.ts';

/** One line, or one JSON object a line, for each daemon; nearly always there is one. */
export async function dataplane(wish: DataplaneWish | undefined, options: StatusOptions): Promise<void> {
  const { runDir, output } = options;
  const statuses = await (wish === undefined ? askDaemons(runDir) : setDataplane(runDir, wish));
  for (const { backend, dataplane: choice } of statuses) {
    const line = output === 'json' ? JSON.stringify({ backend, ...choice }) : dataplaneText(backend, choice);
    process.stdout.write(`${line}\n`);
  }
}
