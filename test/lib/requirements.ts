// Reasons to skip a test on this machine, each found by looking. A reason is printed with the skipped test.

import { accessSync, constants } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { probeKernelVxlan } from '../../src/lab/kernel-vxlan.ts';
import { Lab } from '../../src/lab/lab.ts';

/** Namespaces and devices need root. */
export function skipUnlessRoot(): string | false {
  return process.geteuid?.() === 0 ? false : 'not root: network namespaces cannot be made';
}

export function skipUnlessInstalled(...tools: readonly string[]): string | false {
  const missing = tools.filter(
    (tool) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error !== undefined,
  );
  return missing.length === 0 ? false : `not installed: ${missing.join(', ')}`;
}

export function skipUnlessTun(): string | false {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return false;
  } catch (error) {
    return `/dev/net/tun: ${String(error)}`;
  }
}

/** Why this kernel makes no vxlan devices; undefined when it does. */
export async function kernelVxlanMissing(): Promise<string | undefined> {
  const lab = await Lab.open({ hosts: ['h1'] });
  try {
    return await probeKernelVxlan(lab.host('h1'));
  } finally {
    await lab.close();
  }
}

/** Why no WireGuard device can be made here. */
export async function skipUnlessWireguard(): Promise<string | false> {
  if (skipUnlessInstalled('wireguard-go') === false) return skipUnlessTun();
  const lab = await Lab.open({ hosts: ['h1'] });
  try {
    const argv = ['ip', 'link', 'add', 'name', 'probe0', 'type', 'wireguard'];
    const { exitCode, stderr } = await lab.host('h1').exec(argv, { anyExit: true });
    return exitCode === 0 ? false : `not installed: wireguard-go, and this kernel has none: ${stderr.trim()}`;
  } finally {
    await lab.close();
  }
}
