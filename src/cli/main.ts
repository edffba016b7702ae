#!/usr/bin/env node
// The command line. Reads options, calls one command, and turns whatever it throws into one line and an exit code:
// 0 done, 1 not done, 2 the command line was wrong.

import { Command, CommanderError, Option } from 'commander';

import { KerseyError } from '../errors.ts';
import { collect, parseFeatures, parseOutput, parseWorkers } from './options.ts';
import type { Output } from './options.ts';
import { reportError } from './report-error.ts';
import { status } from './status.ts';
import type { StatusOptions } from './status.ts';
import { defaultRunDir, defaultSubnetFile, up } from './up.ts';
import type { UpOptions } from './up.ts';
import { version } from './version.ts';

function output(): Option {
  return new Option('-o, --output <format>', 'text or json').argParser(parseOutput).default('text');
}

function program(): Command {
  const kersey = new Command('kersey')
    .description('Joins hosts by VXLAN without a vxlan module in the kernel, compatible with flannel.')
    .version(version(), '-V, --version')
    .helpCommand(false)
    .showSuggestionAfterError(false)
    .configureOutput({ writeErr: () => undefined })
    .exitOverride();

  kersey
    .command('up')
    .description('run a node in the foreground, until SIGINT or SIGTERM')
    .requiredOption('--store <store>', 'where the network is kept: file:PATH')
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
    .option('--disable <features>', 'kernel features not to use, separated by commas', parseFeatures)
    .option('--workers <number>', 'receive queues, each with two threads (default: 1)', parseWorkers)
    .option('--allow-unknown-sources', 'let in frames from hosts without a lease', false)
    .option('--no-inner-source-check', 'let peers send from addresses outside their subnets')
    .addOption(output())
    .action((options: UpOptions) => up(options));

  kersey
    .command('status')
    .description('show what the daemon of this network namespace does and what is wrong')
    .option('--run-dir <path>', 'where the control socket is', defaultRunDir)
    .addOption(output())
    .action((options: StatusOptions) => status(options));

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

/** @returns the exit code */
async function main(argv: readonly string[]): Promise<number> {
  try {
    const kersey = program();
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
    const message = error.message.replace(/^error: /, '');
    const command =
      /^[a-z]+$/.test(argv[0] ?? '') && error.code !== 'commander.unknownCommand' ? `${argv[0] ?? ''} ` : '';
    const remedy = `see \`kersey ${command}--help\``;
    return reportError(new KerseyError('USAGE', message, { remedy, cause: error }));
  }
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
