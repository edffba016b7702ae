// Rows of the matrix: a backend, and every combination that it is for, each a cell.

import type { Test } from 'tap';

import type { JsonObject } from '../../src/config/json.ts';
import { run } from '../../src/lab/command.ts';
import { probeKernelVxlan } from '../../src/lab/kernel-vxlan.ts';
import { Lab } from '../../src/lab/lab.ts';
import { masquerades, runCell } from './matrix.ts';
import type { Cell, Expected, Families } from './matrix.ts';

export interface Row {
  readonly name: string;
  readonly backend: JsonObject;
  readonly families: readonly Families[];
  readonly dataplanes?: readonly Cell['dataplanes'][];
  readonly expected: (families: Families) => Expected;
  /** Why this host cannot, found by trying. */
  readonly lacks?: (dataplanes: Cell['dataplanes']) => Promise<string | undefined>;
}

/** Routes straight to the other host, as `ip route` shows them. */
export const direct4 = '10.5.2.0/24 via 192.168.78.2 dev eth0 proto 85';
export const direct6 = 'fd00:5:0:2::/64 via fd78::2 dev eth0 proto 85 metric 1024 pref medium';

/** Why the kernel makes no device of the kind; undefined when it does. */
export async function linkKind(kind: string, more: readonly string[]): Promise<string | undefined> {
  const lab = await Lab.open({ hosts: ['probe'] });
  try {
    const netns = lab.hosts[0]?.netns ?? '';
    const argv = ['ip', '-n', netns, 'link', 'add', 'ky-probe', 'type', kind, ...more];
    const { exitCode, stderr } = await run(argv, { anyExit: true });
    return exitCode === 0 ? undefined : `this kernel makes no ${kind} device: ${stderr.trim()}`;
  } finally {
    await lab.close();
  }
}

export async function kernelVxlan(): Promise<string | undefined> {
  const lab = await Lab.open({ hosts: ['probe'] });
  try {
    const [probe] = lab.hosts;
    return probe === undefined ? 'no lab' : await probeKernelVxlan(probe);
  } finally {
    await lab.close();
  }
}

export async function runRow(t: Test, row: Row): Promise<void> {
  let cell = 0;
  for (const dataplanes of row.dataplanes ?? [['auto', 'auto'] as const]) {
    const lacks = await row.lacks?.(dataplanes);
    for (const families of row.families) {
      for (const masquerade of masquerades(cell++)) {
        const name = `${dataplanes.join(' and ')}, ${families}, masquerade ${masquerade}`;
        await t.test(name, { skip: lacks ?? false }, async (t) => {
          await runCell(
            t,
            { backend: row.backend, families, dataplanes, masquerade },
            row.expected(families),
          );
        });
      }
    }
  }
}
