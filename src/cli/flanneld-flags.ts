// flanneld's flags, as data: names, types and defaults are flannel's (main.go, v0.28), and so is the meaning.

import type { FlagTable, FlagValues } from '../config/go-flags.ts';

export const flanneldFlags = {
  'etcd-endpoints': {
    type: 'string',
    default: 'http://127.0.0.1:4001,http://127.0.0.1:2379',
    usage: 'a comma-delimited list of etcd endpoints',
  },
  'etcd-prefix': { type: 'string', default: '/coreos.com/network', usage: 'etcd prefix' },
  'etcd-keyfile': { type: 'string', default: '', usage: "the client's private key for etcd, PEM" },
  'etcd-certfile': { type: 'string', default: '', usage: "the client's certificate for etcd, PEM" },
  'etcd-cafile': { type: 'string', default: '', usage: "the authority that signed etcd's certificate, PEM" },
  'etcd-username': { type: 'string', default: '', usage: 'user name for etcd' },
  'etcd-password': {
    type: 'string',
    default: '',
    secret: true,
    usage: 'password for etcd; FLANNELD_ETCD_PASSWORD keeps it out of the list of processes',
  },
  iface: {
    type: 'list',
    default: [],
    usage: 'underlay interface, a name or an address; may be repeated, the first that fits counts',
  },
  'iface-regex': {
    type: 'list',
    default: [],
    usage: 'the same by regular expression, over addresses and names; after all -iface',
  },
  'iface-can-reach': {
    type: 'string',
    default: '',
    usage: 'the interface that leads to this address; after all -iface and -iface-regex',
  },
  'subnet-file': {
    type: 'string',
    default: '/run/flannel/subnet.env',
    usage: 'where subnet, MTU and so on are written for others',
  },
  'public-ip': { type: 'string', default: '', usage: 'IPv4 address that peers send to' },
  'public-ipv6': { type: 'string', default: '', usage: 'IPv6 address that peers send to' },
  'subnet-lease-renew-margin': {
    type: 'int',
    default: 60,
    usage: 'how long before its end the lease is renewed, in minutes, from 1 to 1439',
  },
  'ip-masq': {
    type: 'bool',
    default: false,
    usage: "give traffic that leaves the network this host's address",
  },
  'ip-masq-fully-random-disable': {
    type: 'bool',
    default: false,
    usage: 'masquerade without --random-fully',
  },
  'kube-subnet-mgr': { type: 'bool', default: false, usage: 'keep leases in Kubernetes (not built yet)' },
  'kube-api-url': { type: 'string', default: '', usage: 'Kubernetes API server; for -kube-subnet-mgr' },
  'kube-annotation-prefix': {
    type: 'string',
    default: 'flannel.alpha.coreos.com',
    usage: 'prefix of node annotations; for -kube-subnet-mgr',
  },
  'kubeconfig-file': { type: 'string', default: '', usage: 'kubeconfig; for -kube-subnet-mgr' },
  version: { type: 'bool', default: false, usage: 'print the version and exit' },
  'healthz-ip': { type: 'string', default: '0.0.0.0', usage: 'where /healthz and /readyz are served' },
  'healthz-port': { type: 'int', default: 0, usage: 'the port of it; 0 is off' },
  'iptables-resync': {
    type: 'int',
    default: 5,
    usage: 'how often rules are read where the kernel does not tell of changes, in seconds',
  },
  'iptables-forward-rules': {
    type: 'bool',
    default: true,
    usage: 'rules that let forwarded traffic of the network through',
  },
  'ip-blackhole-route': {
    type: 'bool',
    default: false,
    usage: 'a blackhole route for our own subnet (not built yet)',
  },
  'net-config-path': {
    type: 'string',
    default: '/etc/kube-flannel/net-conf.json',
    usage: 'the network configuration; for -kube-subnet-mgr',
  },
  'set-node-network-unavailable': {
    type: 'bool',
    default: true,
    usage: "set the node's NetworkUnavailable condition; for -kube-subnet-mgr",
  },
  v: { type: 'int', default: 0, usage: 'from 1 on, log every flag at start' },
  vmodule: { type: 'string', default: '', usage: 'taken for compatibility, without effect' },
  log_backtrace_at: { type: 'string', default: '', usage: 'taken for compatibility, without effect' },
} as const satisfies FlagTable;

export type FlanneldFlags = FlagValues<typeof flanneldFlags>;
export type FlanneldFlag = keyof typeof flanneldFlags;
