#!/usr/bin/env -S node --max-semi-space-size=4 --heap-growing-percent=30
// The command line. Reads options, calls one command, and turns whatever it throws into one line and an exit code:
// 0 done, 1 not done, 2 the command line was wrong.

import { Command, CommanderError, Option } from 'commander';

import { KerseyError } from '../errors.ts';
import { cleanup, defaultWireguardKey } from './cleanup.ts';
import type { CleanupOptions } from './cleanup.ts';
import { configGet, configInit, configSet } from './config.ts';
import type { ConfigGetOptions, ConfigInitOptions } from './config.ts';
import { defaultStateDir } from '../store/etcd/store.ts';
import { defaultRunDir, defaultSubnetFile } from './daemon.ts';
import { dataplane } from './dataplane.ts';
import type { DataplaneWish } from '../node/dataplane.ts';
import { leases, leasesRelease, leasesReserve, leasesWatch } from './leases.ts';
import type { LeasesOptions, ReserveOptions } from './leases.ts';
import {
  collect,
  dataplaneParser,
  parseFeatures,
  parseFirewall,
  parseOutput,
  parseWorkers,
  wholeNumber,
} from './options.ts';
import type { Output } from './options.ts';
import { reportError } from './report-error.ts';
import { status } from './status.ts';
import type { StatusOptions } from './status.ts';
import { addStoreOptions } from './store-options.ts';
import type { StoreFlags } from './store-options.ts';
import { up } from './up.ts';
import type { UpOptions } from './up.ts';
import { version } from './version.ts';

function program(): Command {
  const kersey = new Command('kersey')
    .description('Joins hosts by VXLAN without a vxlan module in the kernel, compatible with flannel.')
    .version(version(), '-V, --version')
    .helpCommand(false)
    .showSuggestionAfterError(false)
    .configureOutput({ writeErr: () => undefined })
    .exitOverride();

  addStoreOptions(kersey.command('up'))
    .description('run a node in the foreground, until SIGINT or SIGTERM')
    .option(
      '--iface <name or address>',
      'underlay interface; may be repeated, the first that fits counts',
      collect,
    )
    .option('--iface-regex <expression>', 'the same by regular expression, over addresses and names', collect)
    .option('--iface-can-reach <address>', 'the interface that leads to this address')
    .option('--public-ip <address>', 'IPv4 address that peers send to (default: that of the interface)')
    .option('--public-ipv6 <address>', 'IPv6 address that peers send to')
    .option('--subnet-file <path>', 'what container runtimes read', defaultSubnetFile)
    .option('--run-dir <path>', 'where the control socket is', defaultRunDir)
    .option('--state-dir <path>', 'what a start without etcd is made from', defaultStateDir)
    .option('--healthz-ip <address>', 'where /healthz, /readyz and /metrics are served', '0.0.0.0')
    .option(
      '--healthz-port <number>',
      'the port of it; 0 is off',
      wholeNumber('--healthz-port', 0, 65_535),
      0,
    )
    .option(
      '--dataplane <auto|engine|kernel>',
      'who carries VXLAN; auto: the kernel where it can',
      dataplaneParser('--dataplane'),
      'auto',
    )
    .option('--disable <features>', 'kernel features not to use, separated by commas', parseFeatures)
    .option('--workers <number>', 'receive queues, each with two threads (default: 1)', parseWorkers)
    .option('--allow-unknown-sources', 'let in frames from hosts without a lease', false)
    .option('--no-inner-source-check', 'let peers send from addresses outside their subnets')
    .option('--firewall <auto|nft|iptables|off>', 'what makes firewall rules', parseFirewall, 'auto')
    .option('--ip-masq', "give traffic that leaves the network this host's address", false)
    .option('--ip-masq-fully-random-disable', 'with source ports as they come', false)
    .option('--no-forward-rules', 'make no rules that let forwarded traffic of the network through')
    .option(
      '--iptables-resync <seconds>',
      'how often rules are read where the kernel does not tell of changes',
      wholeNumber('--iptables-resync', 1, 86_400),
      5,
    )
    .addOption(output())
    .action((options: UpOptions) => up(options));

  kersey
    .command('status')
    .description('show what the daemon of this network namespace does and what is wrong')
    .option('--run-dir <path>', 'where the control socket is', defaultRunDir)
    .addOption(output())
    .action((options: StatusOptions) => status(options));

  kersey
    .command('dataplane')
    .description('show who carries the packets and why; with a word, change over without losing the lease')
    .argument('[auto|engine|kernel]', 'who shall', dataplaneParser('the dataplane'))
    .option('--run-dir <path>', 'where the control socket is', defaultRunDir)
    .addOption(output())
    .action((wish: DataplaneWish | undefined, options: StatusOptions) => dataplane(wish, options));

  addConfigCommands(kersey.command('config').description('the network configuration in the store'));
  addLeasesCommands(kersey.command('leases').description('who holds which subnet'));

  kersey
    .command('cleanup')
    .description('remove what killed daemons, and flannel, have left on this host')
    .option('--subnet-file <path>', 'what container runtimes read', defaultSubnetFile)
    .option('--run-dir <path>', 'where the control socket is', defaultRunDir)
    .option(
      '--state',
      'also what a next start would go on with: snapshots of etcd, the key of wireguard',
      false,
    )
    .option('--state-dir <path>', 'where the snapshots are', defaultStateDir)
    .option('--wireguard-key <path>', 'where the key is', defaultWireguardKey)
    .option('--dry-run', 'only tell what would be removed', false)
    .addOption(output())
    .action((options: CleanupOptions) => cleanup(options));

  kersey
    .command('demo')
    .description('build hosts as network namespaces, join them, measure, and remove everything')
    .addOption(output())
    .action(async (options: { output: Output }) => {
      const { demo } = await import('./demo.ts');
      await demo(options);
    });

  return kersey;
}

function addConfigCommands(config: Command): void {
  addStoreOptions(config.command('get'))
    .description('print it as it stands; as JSON, checked and with every default')
    .addOption(output())
    .action((options: ConfigGetOptions) => configGet(options));

  addStoreOptions(config.command('set'))
    .description('check it and write it')
    .argument('<file>', 'the configuration as JSON; - is the standard input')
    .action((file: string, options: StoreFlags) => configSet(file, options));

  addStoreOptions(config.command('init'))
    .description('write the first one')
    .option('--network <subnet>', 'all subnets of hosts are inside it: 10.5.0.0/16')
    .option(
      '--subnet-len <bits>',
      "prefix length of a host's subnet (default: 24)",
      wholeNumber('--subnet-len', 1, 30),
    )
    .option('--subnet-min <address>', 'the first subnet that is leased')
    .option('--subnet-max <address>', 'the last one')
    .option('--ipv6-network <subnet>', 'the same for IPv6: fd00:5::/48')
    .option('--ipv6-subnet-len <bits>', '(default: 64)', wholeNumber('--ipv6-subnet-len', 1, 126))
    .option('--backend <type>', 'how packets travel', 'vxlan')
    .option('--vni <number>', '(default: 1)', wholeNumber('--vni', 0, 0xffffff))
    .option('--port <number>', 'UDP port (default: 8472)', wholeNumber('--port', 1, 65_535))
    .option(
      '--mtu <bytes>',
      'MTU of the underlay (default: that of the interface)',
      wholeNumber('--mtu', 1, 65_535),
    )
    .option('--force', 'replace the one that is there', false)
    .action((options: ConfigInitOptions) => configInit(options));
}

function addLeasesCommands(command: Command): void {
  addStoreOptions(command.command('list', { isDefault: true }))
    .description('print the table')
    .addOption(output())
    .action((options: LeasesOptions) => leases(options));

  addStoreOptions(command.command('watch'))
    .description('print what is there and then every change, one a line')
    .addOption(output())
    .action((options: LeasesOptions) => leasesWatch(options));

  addStoreOptions(command.command('reserve'))
    .description('keep a subnet for a host, without an end')
    .argument('<subnet>', '10.5.1.0/24, or 10.5.1.0/24,fd00:5:1::/64')
    .option('--public-ip <address>', 'the address that the host is known by')
    .option('--public-ipv6 <address>', 'its IPv6 address')
    .action((subnet: string, options: ReserveOptions) => leasesReserve(subnet, options));

  addStoreOptions(command.command('release'))
    .description("remove a lease, whoever's it is")
    .argument('<subnet>')
    .action((subnet: string, options: StoreFlags) => leasesRelease(subnet, options));
}

function output(): Option {
  return new Option('-o, --output <format>', 'text or json').argParser(parseOutput).default('text');
}

/** @returns the exit code */
async function main(argv: readonly string[]): Promise<number> {
  const kersey = program();
  try {
    if (argv.length === 0) {
      const remedy = 'run `kersey demo` to see it work, or `kersey --help`';
      throw new KerseyError('USAGE', 'no command was given', { remedy });
    }
    await kersey.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    if (!(error instanceof CommanderError)) return reportError(error);
    // Help and version are thrown as well.
    if (error.exitCode === 0) return 0;
    const message =
      error.code === 'commander.help' ? 'no subcommand was given' : error.message.replace(/^error: /, '');
    const remedy = `see \`${[...commandOf(kersey, argv), '--help'].join(' ')}\``;
    return reportError(new KerseyError('USAGE', message, { remedy, cause: error }));
  }
}

/** The words of the command line that name a command: `kersey config set`. */
function commandOf(kersey: Command, argv: readonly string[]): readonly string[] {
  const names = [kersey.name()];
  let command: Command | undefined = kersey;
  for (const word of argv) {
    command = command.commands.find((candidate) => candidate.name() === word);
    if (command === undefined) break;
    names.push(word);
  }
  return names;
}

// What nobody has caught ends the process; the kernel removes the device with it.
process.on('uncaughtException', (error) => {
  process.exit(reportError(error));
});

// A reader of our output that goes away, such as `head`, is no mistake.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

process.exitCode = await main(process.argv.slice(2));
