// @ts-check
// Installing Debian packages without starting the daemons in them: what we install is for tests, which start their
// own. etcd-server's would take port 2379.
//
// Debian asks /usr/sbin/policy-rc.d before it starts a service (invoke-rc.d(8)); 101 is no. A policy that the machine
// has already is its owner's, and stays.

import { readFileSync, rmSync, writeFileSync } from 'node:fs';

const POLICY = '/usr/sbin/policy-rc.d';
const TEXT = `#!/bin/sh
# Made by Kersey's set-up while it installs packages, and removed afterwards: start no service.
exit 101
`;

/**
 * @param {() => boolean} install
 * @param {string} [policy] where the policy goes
 * @returns {boolean} what install returned
 */
export function withoutServices(install, policy = POLICY) {
  try {
    writeFileSync(policy, TEXT, { mode: 0o755, flag: 'wx' });
  } catch {
    // The machine's own, or what a killed set-up left behind.
  }
  try {
    return install();
  } finally {
    if (isOurs(policy)) rmSync(policy, { force: true });
  }
}

/** @param {string} policy */
function isOurs(policy) {
  try {
    return readFileSync(policy, 'utf8') === TEXT;
  } catch {
    return false;
  }
}
