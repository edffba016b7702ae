// subnet.env: what the CNI plugin, Docker's scripts and the next start read of this node (flannel's WriteSubnetFile).
//
//   FLANNEL_NETWORK=10.5.0.0/16
//   FLANNEL_SUBNET=10.5.72.1/24        the subnet's first address that a container bridge may have
//   FLANNEL_IPV6_NETWORK=fc00::/48
//   FLANNEL_IPV6_SUBNET=fc00:0:0:3::1/64
//   FLANNEL_MTU=1450
//   FLANNEL_IPMASQ=false
//
// Replaced atomically, flushed, and readable by all whatever the umask: other programs run as other users.

import {
  closeSync,
  fchmodSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

import type { NetworkConfig } from '../config/network.ts';
import { makeDirectory } from '../directory.ts';
import { errnoName, errnoText, KerseyError } from '../errors.ts';
import { formatCidr, tryParseCidr } from '../net/cidr.ts';
import type { Cidr } from '../net/cidr.ts';
import { formatIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import type { LeaseSubnets } from '../store/lease.ts';

export interface SubnetEnv {
  readonly network?: Cidr;
  readonly subnet?: Cidr;
  readonly ipv6Network?: Cidr;
  readonly ipv6Subnet?: Cidr;
  readonly mtu: number;
  readonly ipMasq: boolean;
}

/** What an earlier run left behind; anything unreadable in it counts as absent. */
export interface PreviousSubnets {
  readonly subnet?: Cidr;
  readonly ipv6Subnet?: Cidr;
}

export function subnetEnvOf(
  config: NetworkConfig,
  { subnet, subnet6 }: LeaseSubnets,
  mtu: number,
  ipMasq: boolean,
): SubnetEnv {
  return {
    ...(config.network && { network: config.network }),
    ...(subnet && { subnet }),
    ...(config.ipv6Network && { ipv6Network: config.ipv6Network }),
    ...(subnet6 && { ipv6Subnet: subnet6 }),
    mtu,
    ipMasq,
  };
}

export function formatSubnetEnv(env: SubnetEnv): string {
  const gateway = (subnet: Cidr): string => `${formatIp(subnet.family, subnet.base + 1n)}/${subnet.length}`;
  const lines: string[] = [];
  const put = (key: string, value: string | undefined): void => {
    if (value !== undefined) lines.push(`${key}=${value}\n`);
  };
  put('FLANNEL_NETWORK', env.network && formatCidr(env.network));
  put('FLANNEL_SUBNET', env.subnet && gateway(env.subnet));
  put('FLANNEL_IPV6_NETWORK', env.ipv6Network && formatCidr(env.ipv6Network));
  put('FLANNEL_IPV6_SUBNET', env.ipv6Subnet && gateway(env.ipv6Subnet));
  put('FLANNEL_MTU', String(env.mtu));
  put('FLANNEL_IPMASQ', String(env.ipMasq));
  return lines.join('');
}

export function parsePreviousSubnets(text: string): PreviousSubnets {
  const values = parseDotenv(text);
  const subnet = only(values.get('FLANNEL_SUBNET'), 4);
  const ipv6Subnet = only(values.get('FLANNEL_IPV6_SUBNET'), 6);
  return { ...(subnet && { subnet }), ...(ipv6Subnet && { ipv6Subnet }) };
}

export function readPreviousSubnets(file: string): PreviousSubnets {
  try {
    return parsePreviousSubnets(readFileSync(file, 'utf8'));
  } catch (error) {
    if (errnoName(error) === 'ENOENT') return {};
    throw new KerseyError('FILE_UNWRITABLE', `cannot read the subnet file ${file}: ${errnoText(error)}`, {
      remedy: 'correct it, or name another with --subnet-file',
      cause: error,
    });
  }
}

export function writeSubnetEnv(file: string, env: SubnetEnv): void {
  writing(file, (directory, temporary) => {
    withFile(temporary, 'w', (fd) => {
      // Not writeSync: on a disk that gets full it may write a part, and say so only to whoever asks.
      writeFileSync(fd, formatSubnetEnv(env));
      fchmodSync(fd, 0o644);
      fsyncSync(fd);
    });
    renameSync(temporary, file);
    withFile(directory, 'r', fsyncSync);
  });
}

/** Finds out before anything else is made whether the file can be written. */
export function probeSubnetFile(file: string): void {
  writing(file, (_directory, temporary) => {
    withFile(temporary, 'w', () => undefined);
    rmSync(temporary);
  });
}

function writing(file: string, action: (directory: string, temporary: string) => void): void {
  const directory = path.dirname(path.resolve(file));
  const temporary = path.join(directory, `.${path.basename(file)}.${process.pid}`);
  try {
    makeDirectory(directory);
    action(directory, temporary);
  } catch (cause) {
    discard(temporary);
    throw new KerseyError('FILE_UNWRITABLE', `cannot write the subnet file ${file}: ${errnoText(cause)}`, {
      remedy:
        remedies[errnoName(cause) ?? ''] ??
        'make its directory writable, or name another file with --subnet-file',
      cause,
    });
  }
}

const remedies: Readonly<Record<string, string>> = {
  ENOSPC: 'free some space, or inodes, on its file system; what was there before is untouched',
  EDQUOT: 'free some space of the quota; what was there before is untouched',
};

function discard(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // Where no file can be made, none is left.
  }
}

function withFile(file: string, flags: string, use: (fd: number) => void): void {
  const fd = openSync(file, flags, 0o644);
  try {
    use(fd);
  } finally {
    closeSync(fd);
  }
}

/** What godotenv takes that such a file may hold: `export`, comments, quotes, space around `=`. The last one counts. */
function parseDotenv(text: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*(?:export\s+)?([\w.]+)\s*[=:]\s*(.*?)\s*$/.exec(line);
    if (match?.[1] === undefined || match[2] === undefined) continue;
    const quoted = /^(["'])(.*?)\1/.exec(match[2]);
    values.set(match[1], quoted?.[2] ?? match[2].replace(/(^|\s+)#.*$/, ''));
  }
  return values;
}

/** The one subnet of a comma list; flannel takes none when there are several. */
function only(list: string | undefined, family: Family): Cidr | undefined {
  const cidrs = (list ?? '')
    .split(',')
    .map((text) => tryParseCidr(text.trim()))
    .filter((cidr) => cidr?.family === family);
  return cidrs.length === 1 ? cidrs[0] : undefined;
}
