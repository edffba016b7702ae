#!/usr/bin/env -S node --max-semi-space-size=4 --heap-growing-percent=30
// `flanneld`: flannel's flags and environment, Kersey's node. docs/guide/flanneld.md says where they differ, and why.
//
// Exit codes: 0 ended by a signal, --help, --version; 1 not done; 2 the command line was wrong (flannel's is 0).

import { parseGoFlags, flagDefaults, showFlags, withEnvironment } from '../config/go-flags.ts';
import { KerseyError } from '../errors.ts';
import type { Log } from '../observe/log.ts';
import type { EtcdAccess } from '../store/etcd/access.ts';
import { defaultStateDir } from '../store/etcd/store.ts';
import { openStore } from '../store/open.ts';
import { daemonLog } from './daemon-log.ts';
import { defaultRunDir, runDaemon } from './daemon.ts';
import { flanneldFlags } from './flanneld-flags.ts';
import type { FlanneldFlag, FlanneldFlags } from './flanneld-flags.ts';
import { dataplaneParser } from './options.ts';
import type { DataplaneWish } from '../node/dataplane.ts';
import { reportError } from './report-error.ts';
import { version } from './version.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws KerseyError */
async function flanneld(argv: readonly string[], environment: Environment): Promise<void> {
  const commandLine = parseGoFlags(flanneldFlags, argv);
  if (commandLine.help) {
    process.stderr.write(`Usage: flanneld [OPTION]...\n${flagDefaults(flanneldFlags)}`);
    return;
  }
  // Before the environment, as with flannel: FLANNELD_VERSION prints nothing.
  if (commandLine.values.version) {
    process.stderr.write(`${version()}\n`);
    return;
  }
  const { parsed, warnings } = withEnvironment(flanneldFlags, commandLine, 'FLANNELD', environment);
  const flags = parsed.values;
  refuseWrong(flags);
  const log = daemonLog('text');

  const access: EtcdAccess = {
    prefix: flags['etcd-prefix'],
    ...given('ca', flags['etcd-cafile']),
    ...tlsPair(flags, log),
    ...userPair(flags, log),
  };
  const tell = (): void => {
    for (const warning of warnings) log.warn(warning);
    const [stray] = parsed.rest;
    if (stray !== undefined) {
      log.warn(`'${stray}' is no flag: it and the ${parsed.rest.length - 1} arguments after it are not read`);
    }
    logFlags(flags, parsed.given, log);
  };
  await runDaemon({
    onBegin: tell,
    openStore: () =>
      openStore(`etcd:${flags['etcd-endpoints']}`, {
        etcd: access,
        stateDir: orElse(environment['KERSEY_STATE_DIR'], defaultStateDir),
        renewMargin: flags['subnet-lease-renew-margin'],
      }),
    wish: {
      ifaces: flags.iface,
      ifaceRegexes: flags['iface-regex'],
      ...given('ifaceCanReach', flags['iface-can-reach']),
      ...given('publicIp', flags['public-ip']),
      ...given('publicIpv6', flags['public-ipv6']),
    },
    dataplane: wishedDataplane(environment['KERSEY_DATAPLANE']),
    engine: {},
    subnetFile: flags['subnet-file'],
    firewall: {
      mode: 'auto',
      first: { dialect: 'iptables', why: 'as flannel without EnableNFTables', asked: true },
      masquerade: flags['ip-masq'],
      forward: flags['iptables-forward-rules'],
      fullyRandom: !flags['ip-masq-fully-random-disable'],
      // 0 makes flannel spin.
      resync: Math.max(1, flags['iptables-resync']),
    },
    runDir: orElse(environment['KERSEY_RUN_DIR'], defaultRunDir),
    health:
      flags['healthz-port'] === 0 ? undefined : { ip: flags['healthz-ip'], port: flags['healthz-port'] },
    warnings: missingParts(flags),
    log,
  });
}

/** @throws KerseyError USAGE, BACKEND_UNSUPPORTED */
function refuseWrong(flags: FlanneldFlags): void {
  const margin = flags['subnet-lease-renew-margin'];
  if (margin < 1 || margin > 1439) {
    throw new KerseyError(
      'USAGE',
      `-subnet-lease-renew-margin ${margin} is not a time before the end of a day`,
      {
        remedy: 'give minutes, from 1 to 1439',
      },
    );
  }
  const port = flags['healthz-port'];
  if (port < 0 || port > 65_535) {
    throw new KerseyError('USAGE', `-healthz-port ${port} is not a port`, {
      remedy: 'give one from 1 to 65535, or 0',
    });
  }
  if (flags['kube-subnet-mgr']) {
    throw new KerseyError('BACKEND_UNSUPPORTED', '-kube-subnet-mgr: leases in Kubernetes are not built yet', {
      remedy: 'leave flannel on this node, or keep the leases in etcd: -etcd-endpoints',
    });
  }
}

/** flannel has no flag for it. @throws KerseyError USAGE */
function wishedDataplane(text: string | undefined): DataplaneWish {
  return text === undefined || text === '' ? 'auto' : dataplaneParser('KERSEY_DATAPLANE')(text);
}

/** What was asked for and is not there: warnings of the log and of the status. */
function missingParts(flags: FlanneldFlags): readonly string[] {
  return [
    ...(flags['ip-blackhole-route']
      ? [
          '-ip-blackhole-route: not built yet; packets to unused addresses of our subnet take the default route',
        ]
      : []),
  ];
}

const forKubernetes: readonly FlanneldFlag[] = [
  'kube-api-url',
  'kube-annotation-prefix',
  'kubeconfig-file',
  'net-config-path',
  'set-node-network-unavailable',
];
const forKlog: readonly FlanneldFlag[] = ['vmodule', 'log_backtrace_at'];

function logFlags(flags: FlanneldFlags, given: ReadonlySet<FlanneldFlag>, log: Log): void {
  const shown = showFlags(flanneldFlags, flags, (flag) => flags.v >= 1 || given.has(flag));
  log.info(shown === '' ? 'no flags are given' : `flags: ${shown}`);
  const idle = (reason: string, names: readonly FlanneldFlag[]): void => {
    const found = names.filter((name) => given.has(name));
    if (found.length > 0) log.info(`without effect, ${reason}: ${found.map((name) => `-${name}`).join(' ')}`);
  };
  idle('because -kube-subnet-mgr is not given', forKubernetes);
  idle("because the log is not klog's", forKlog);
}

/** flannel takes both or none, and leaves out one alone. */
function tlsPair(flags: FlanneldFlags, log: Log): Pick<EtcdAccess, 'cert' | 'key'> {
  const [cert, key] = [flags['etcd-certfile'], flags['etcd-keyfile']];
  if (cert !== '' && key !== '') return { cert, key };
  if (cert !== key) {
    log.warn('of -etcd-certfile and -etcd-keyfile one is missing, so no certificate is shown to etcd');
  }
  return {};
}

function userPair(flags: FlanneldFlags, log: Log): Pick<EtcdAccess, 'username' | 'password'> {
  const [username, password] = [flags['etcd-username'], flags['etcd-password']];
  if (username !== '' && password !== '') return { username, password };
  if (username !== '' || password !== '') {
    log.warn('of -etcd-username and -etcd-password one is missing, so etcd is used without authentication');
  }
  return {};
}

function given<const K extends string>(key: K, value: string): Partial<Record<K, string>> {
  // An empty text is flannel's way to say nothing.
  return value === '' ? {} : ({ [key]: value } as Record<K, string>);
}

function orElse(text: string | undefined, otherwise: string): string {
  return text === undefined || text === '' ? otherwise : text;
}

// What nobody has caught ends the process; the kernel removes the device with it.
process.on('uncaughtException', (error) => {
  process.exit(reportError(error, 'flanneld'));
});

try {
  await flanneld(process.argv.slice(2), process.env);
} catch (error) {
  process.exitCode = reportError(error, 'flanneld');
}
