// extension: commands of the operator make the network; Kersey runs them and carries what they say to the other hosts.
//
//   PreStartupCommand    once, before there is a lease; its output becomes our BackendData
//   PostStartupCommand   once there is a lease
//   SubnetAddCommand     for every peer that is new or has changed; its BackendData comes by standard input
//   SubnetRemoveCommand  for every peer that has gone
//
// The first runs here, before the backend is made; the others are part of the plan, and whoever applies that runs them
// (src/node/devices/extension-runner.ts). How commands are read: words.ts.
//
// As flannel does, the output is one text in BackendData. On a host with IPv6 alone it is in BackendV6Data, and either
// place is read.

import type { ExtensionConfig } from '../../config/backend.ts';
import type { JsonValue } from '../../config/json.ts';
import { formatCidr } from '../../net/cidr.ts';
import type { Family } from '../../net/ip.ts';
import type { Lease } from '../../store/lease.ts';
import type { Backend, BackendContext, PlanInput } from '../backend.ts';
import { enabledFamilies, overlayNetworks } from '../overlay.ts';
import { peersOf } from '../peers.ts';
import type { Plan, PlannedPeer } from '../plan.ts';
import { runCommand } from './command.ts';
import type { Variables } from './command.ts';
import type { CommandPeer, CommandsPlan } from './commands-plan.ts';
import { shellSyntax } from './words.ts';

/** One lease as far as it may be used. */
interface Remote {
  readonly lease: Lease;
  readonly data: string;
  readonly outer: Partial<Record<Family, string>>;
  readonly prefixes: Partial<Record<Family, string>>;
}

/** @throws KerseyError COMMAND_FAILED when PreStartupCommand fails, INTERRUPTED */
export async function prepareExtension(
  extension: ExtensionConfig,
  signal: AbortSignal,
): Promise<(context: BackendContext) => ExtensionBackend> {
  const { preStartup: command } = extension;
  const output =
    command === undefined
      ? undefined
      : await runCommand({ what: 'config.Backend.PreStartupCommand', command, signal });
  return (context) => new ExtensionBackend(extension, context, output);
}

export class ExtensionBackend implements Backend {
  readonly leaseType = 'extension';
  readonly needsOnLink = false;
  /** What the commands make is theirs. */
  readonly deviceNames = [];
  readonly #extension: ExtensionConfig;
  readonly #context: BackendContext;
  readonly #output: string | undefined;

  /** @param output of PreStartupCommand; undefined without one */
  constructor(extension: ExtensionConfig, context: BackendContext, output: string | undefined) {
    this.#extension = extension;
    this.#context = context;
    this.#output = output;
  }

  leaseData(family: Family): JsonValue | undefined {
    const [first] = enabledFamilies(this.#context.config);
    return family === first ? this.#output : undefined;
  }

  isComplete(family: Family, data: JsonValue | undefined): boolean {
    return data === this.leaseData(family);
  }

  device(): undefined {
    return undefined;
  }

  plan(input: PlanInput): Plan {
    const warnings = new Set(shellWarnings(this.#extension));
    const remotes = this.#remotes(input, warnings);
    return {
      devices: [],
      routes: [],
      peers: remotes.flatMap(knownPeers),
      commands: this.#commands(input, remotes),
      mtu: input.host.ifaceMtu,
      warnings: [...warnings].sort(),
    };
  }

  #remotes(input: PlanInput, warnings: Set<string>): readonly Remote[] {
    const remotes = new Map<Lease, Remote>();
    for (const overlay of overlayNetworks(this.#context.config, input.own)) {
      const { family } = overlay;
      const peers = peersOf(input, {
        ...overlay,
        leaseType: this.leaseType,
        read: readLease,
        onWarning: (warning) => warnings.add(warning),
      });
      for (const { prefix, outer, data } of peers) {
        const before = remotes.get(data.lease);
        remotes.set(data.lease, {
          ...data,
          outer: { ...before?.outer, [family]: outer },
          prefixes: { ...before?.prefixes, [family]: formatCidr(prefix) },
        });
      }
    }
    return [...remotes.values()];
  }

  #commands({ own }: PlanInput, remotes: readonly Remote[]): CommandsPlan {
    const { postStartup, subnetAdd, subnetRemove } = this.#extension;
    const { network, ipv6Network } = this.#context.config;
    const where = network ?? ipv6Network;
    const common: Variables = where === undefined ? {} : { NETWORK: formatCidr(where) };
    return {
      ...(postStartup !== undefined && {
        start: {
          command: postStartup,
          variables: {
            ...common,
            ...valuesOf('SUBNET', own.subnet && formatCidr(own.subnet)),
            ...valuesOf('IPV6SUBNET', own.subnet6 && formatCidr(own.subnet6)),
            ...valuesOf('PUBLIC_IP', own.attrs.publicIP),
            ...valuesOf('PUBLIC_IPV6', own.attrs.publicIPv6),
          },
        },
      }),
      ...(subnetAdd !== undefined && { add: subnetAdd }),
      ...(subnetRemove !== undefined && { remove: subnetRemove }),
      peers: remotes.map(({ data, outer, prefixes }): CommandPeer => ({
        name: Object.values(prefixes).join(' '),
        outer: outer[4] ?? outer[6] ?? '',
        variables: {
          ...common,
          ...valuesOf('SUBNET', prefixes[4]),
          ...valuesOf('IPV6SUBNET', prefixes[6]),
          ...valuesOf('PUBLIC_IP', outer[4]),
          ...valuesOf('PUBLIC_IPV6', outer[6]),
        },
        input: `${data}\n`,
      })),
    };
  }
}

function readLease(lease: Lease): { readonly data: Pick<Remote, 'lease' | 'data'> } | string {
  const data = lease.attrs.backendData ?? lease.attrs.backendV6Data ?? '';
  return typeof data === 'string' ? { data: { lease, data } } : 'its BackendData is not a text';
}

function knownPeers({ outer, prefixes }: Remote): readonly PlannedPeer[] {
  return ([4, 6] as const).flatMap((family) => {
    const [prefix, address] = [prefixes[family], outer[family]];
    return prefix === undefined || address === undefined ? [] : [{ prefix, outer: address }];
  });
}

function valuesOf(name: keyof Variables, value: string | null | undefined): Variables {
  return value === undefined || value === null ? {} : { [name]: value };
}

/** Commands that flannel before 0.28.2 gave to a shell, as its own samples still expect. */
function shellWarnings(extension: ExtensionConfig): readonly string[] {
  const commands = [
    ['PreStartupCommand', extension.preStartup],
    ['PostStartupCommand', extension.postStartup],
    ['SubnetAddCommand', extension.subnetAdd],
    ['SubnetRemoveCommand', extension.subnetRemove],
  ] as const;
  return commands.flatMap(([name, command]) => {
    const odd = command === undefined ? undefined : shellSyntax(command);
    return odd === undefined
      ? []
      : [
          `config.Backend.${name} has '${odd}' in it, which needs a shell, and runs without one; put it into a script`,
        ];
  });
}
