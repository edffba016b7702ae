// `kersey config get|set|init`: the network configuration in the store. What is written has been checked by flannel's
// rules first, and nothing is written over that somebody else changed meanwhile.

import { readFileSync } from 'node:fs';

import { JsonSyntaxError, keyPath, parseJson } from '../config/json.ts';
import type { JsonObject, JsonValue } from '../config/json.ts';
import { parseNetworkConfig, subnetPool } from '../config/network.ts';
import type { NetworkConfig } from '../config/network.ts';
import { normalConfig } from '../config/normal.ts';
import { KerseyError, errnoText, oneLine } from '../errors.ts';
import { formatCidr } from '../net/cidr.ts';
import type { StoreAdmin } from '../store/admin.ts';
import { inPool } from '../store/allocate.ts';
import type { Output } from './options.ts';
import { withAdmin } from './store-options.ts';
import type { StoreFlags } from './store-options.ts';

export interface ConfigGetOptions extends StoreFlags {
  readonly output: Output;
}

export interface ConfigInitOptions extends StoreFlags {
  readonly network?: string;
  readonly subnetLen?: number;
  readonly subnetMin?: string;
  readonly subnetMax?: string;
  readonly ipv6Network?: string;
  readonly ipv6SubnetLen?: number;
  readonly backend: string;
  readonly vni?: number;
  readonly port?: number;
  readonly mtu?: number;
  readonly force: boolean;
}

/** The text as it stands; as JSON, complete with its defaults, and only when it is valid. */
export async function configGet(options: ConfigGetOptions): Promise<void> {
  await withAdmin(options, async (admin) => {
    const text = await admin.configText();
    if (text === undefined) throw missing(admin, options.store);
    if (options.output === 'json') {
      const config = check(text, admin.description);
      process.stdout.write(`${JSON.stringify(normalConfig(config), null, 2)}\n`);
    } else {
      process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
    }
  });
}

/** @param file '-' is the standard input */
export async function configSet(file: string, options: StoreFlags): Promise<void> {
  const text = readText(file).trim();
  const config = check(text, file === '-' ? 'standard input' : file);
  await withAdmin(options, async (admin) => {
    await write(admin, text, config, await admin.configText(), options.store);
  });
}

export async function configInit(options: ConfigInitOptions): Promise<void> {
  if (options.network === undefined && options.ipv6Network === undefined) {
    throw new KerseyError('USAGE', 'which network is it?', { remedy: 'add --network 10.5.0.0/16' });
  }
  const value = fresh(options);
  const config = parseNetworkConfig(value);
  await withAdmin(options, async (admin) => {
    const before = await admin.configText();
    if (before !== undefined && !options.force) {
      throw new KerseyError('CONFIG_EXISTS', `${admin.description} has a network configuration already`, {
        remedy: 'look at it with `kersey config get`; --force replaces it',
      });
    }
    await write(admin, JSON.stringify(value), config, before, options.store);
  });
}

async function write(
  admin: StoreAdmin,
  text: string,
  config: NetworkConfig,
  before: string | undefined,
  store: string,
): Promise<void> {
  const network = [config.network, config.ipv6Network].flatMap((cidr) => (cidr ? [formatCidr(cidr)] : []));
  if (before === text) {
    process.stdout.write(`${admin.description} has this configuration already\n`);
    return;
  }
  await admin.setConfig(text, before);
  const strays = await straysOf(admin, config);
  if (strays.length > 0) {
    process.stderr.write(
      `warning: ${strays.length === 1 ? 'a lease is' : `${strays.length} leases are`} outside what the network leases now: ` +
        `${strays.slice(0, 5).map(oneLine).join(', ')}${strays.length > 5 ? ', ...' : ''}\n`,
    );
  }
  const next =
    before === undefined
      ? `kersey up --store ${store}`
      : 'restart the daemons one after the other: they read it at their start';
  process.stdout.write(`wrote ${network.join(' and ')} to ${admin.description}\nnext: ${next}\n`);
}

/** Keys of leases that a node would not be given any more. */
async function straysOf(admin: StoreAdmin, config: NetworkConfig): Promise<readonly string[]> {
  const { entries } = await admin.leases();
  const fits = (family: 4 | 6, cidr: Parameters<typeof inPool>[1]): boolean => {
    const pool = subnetPool(config, family);
    return pool === undefined ? cidr === undefined : inPool(pool, cidr);
  };
  return entries.filter((entry) => !fits(4, entry.subnet) || !fits(6, entry.subnet6)).map(({ key }) => key);
}

function fresh(options: ConfigInitOptions): JsonObject {
  const { network, subnetLen, subnetMin, subnetMax, ipv6Network, ipv6SubnetLen, vni, port, mtu } = options;
  return {
    ...(network === undefined ? { EnableIPv4: false } : { Network: network }),
    ...(subnetLen !== undefined && { SubnetLen: subnetLen }),
    ...(subnetMin !== undefined && { SubnetMin: subnetMin }),
    ...(subnetMax !== undefined && { SubnetMax: subnetMax }),
    ...(ipv6Network !== undefined && { EnableIPv6: true, IPv6Network: ipv6Network }),
    ...(ipv6SubnetLen !== undefined && { IPv6SubnetLen: ipv6SubnetLen }),
    Backend: {
      Type: options.backend,
      ...(vni !== undefined && { VNI: vni }),
      ...(port !== undefined && { Port: port }),
      ...(mtu !== undefined && { MTU: mtu }),
    },
  };
}

function readText(file: string): string {
  try {
    const bytes = readFileSync(file === '-' ? 0 : file);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new KerseyError('USAGE', `${file} cannot be read: ${errnoText(error)}`, {
      remedy: 'name a file with the configuration as JSON, or - for the standard input',
      cause: error,
    });
  }
}

/** @throws KerseyError naming the key and the rule that it breaks */
export function check(text: string, source: string): NetworkConfig {
  let value: JsonValue;
  let duplicate: readonly string[] | undefined;
  try {
    const parsed = parseJson(text);
    value = parsed.value;
    duplicate = parsed.duplicates[0];
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw new KerseyError('CONFIG_INVALID', `${source}:${error.line}:${error.column}: ${error.message}`, {
      remedy: 'correct it',
      cause: error,
    });
  }
  if (duplicate !== undefined) {
    throw new KerseyError('CONFIG_INVALID', `${source}: ${keyPath('config', ...duplicate)} is there twice`, {
      remedy: 'remove one of them',
    });
  }
  return parseNetworkConfig(value, source);
}

function missing(admin: StoreAdmin, store: string): KerseyError {
  return new KerseyError('CONFIG_MISSING', `${admin.description} has no network configuration`, {
    remedy: `write one: kersey config init --store ${store} --network 10.5.0.0/16`,
  });
}
