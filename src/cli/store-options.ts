// Which store a command means, and how it gets in: `--store`, and `--etcd-*` as flannel calls them.

import { readFileSync } from 'node:fs';
import type { Command } from 'commander';

import { KerseyError, errnoText } from '../errors.ts';
import type { StoreAdmin } from '../store/admin.ts';
import type { EtcdAccess } from '../store/etcd/access.ts';
import { openAdmin } from '../store/open.ts';

export interface StoreFlags {
  readonly store: string;
  readonly etcdPrefix?: string;
  readonly etcdCafile?: string;
  readonly etcdCertfile?: string;
  readonly etcdKeyfile?: string;
  readonly etcdUsername?: string;
  readonly etcdPassword?: string;
  readonly etcdPasswordFile?: string;
}

/** Where the password may stand so that it is not in the list of processes. */
export const passwordVariable = 'KERSEY_ETCD_PASSWORD';

export function addStoreOptions(command: Command): Command {
  return command
    .requiredOption('--store <store>', 'where the network is kept: etcd:URL,... or file:PATH')
    .option('--etcd-prefix <prefix>', 'what the keys begin with (default: /coreos.com/network)')
    .option('--etcd-cafile <path>', "the authority that signed etcd's certificate, PEM")
    .option('--etcd-certfile <path>', "the client's certificate, PEM")
    .option('--etcd-keyfile <path>', "the client's private key, PEM")
    .option('--etcd-username <name>', 'user of etcd')
    .option('--etcd-password <password>', `its password; better --etcd-password-file or ${passwordVariable}`)
    .option('--etcd-password-file <path>', 'a file with the password in its first line');
}

/** @throws KerseyError USAGE */
export function etcdAccess(
  flags: Omit<StoreFlags, 'store'>,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): EtcdAccess {
  const { etcdPrefix: prefix, etcdUsername: username } = flags;
  const [cafile, certfile, keyfile] = [flags.etcdCafile, flags.etcdCertfile, flags.etcdKeyfile];
  if ((certfile === undefined) !== (keyfile === undefined)) {
    const [given, lacking] = certfile === undefined ? ['keyfile', 'certfile'] : ['certfile', 'keyfile'];
    throw usage(`--etcd-${given} is given without --etcd-${lacking}`, 'give both, or neither');
  }
  const password = passwordOf(flags, environment);
  if (username === undefined && (flags.etcdPassword ?? flags.etcdPasswordFile) !== undefined) {
    throw usage('there is a password for etcd, but no --etcd-username', 'add the user that it is for');
  }
  if (username !== undefined && password === undefined) {
    const remedy = `set ${passwordVariable}, or give --etcd-password-file`;
    throw usage(`--etcd-username ${username} has no password`, remedy);
  }
  return {
    ...(prefix !== undefined && { prefix }),
    ...(cafile !== undefined && { ca: cafile }),
    ...(certfile !== undefined && { cert: certfile }),
    ...(keyfile !== undefined && { key: keyfile }),
    ...(username !== undefined && password !== undefined && { username, password }),
  };
}

/** Opens the store for an operator's command, and closes it whatever happens. */
export async function withAdmin(
  flags: StoreFlags,
  action: (admin: StoreAdmin) => Promise<void>,
): Promise<void> {
  const admin = openAdmin(flags.store, { etcd: etcdAccess(flags) });
  try {
    await action(admin);
  } finally {
    await admin.close();
  }
}

function passwordOf(
  { etcdPassword, etcdPasswordFile }: Omit<StoreFlags, 'store'>,
  environment: Readonly<Record<string, string | undefined>>,
): string | undefined {
  if (etcdPassword !== undefined && etcdPasswordFile !== undefined) {
    throw usage('there are both --etcd-password and --etcd-password-file', 'give one of them');
  }
  if (etcdPassword !== undefined) return etcdPassword;
  if (etcdPasswordFile === undefined) {
    const password = environment[passwordVariable] ?? '';
    return password === '' ? undefined : password;
  }
  const [line = ''] = read(etcdPasswordFile, '--etcd-password-file').split(/\r?\n/);
  if (line === '')
    throw usage(`--etcd-password-file ${etcdPasswordFile} is empty`, 'write the password into it');
  return line;
}

function read(file: string, flag: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new KerseyError('USAGE', `${flag} ${file} cannot be read: ${errnoText(error)}`, {
      remedy: 'correct the path, or the rights of the file',
      cause: error,
    });
  }
}

function usage(problem: string, remedy: string): KerseyError {
  return new KerseyError('USAGE', problem, { remedy });
}
