// What other programs do to a host on which a node runs: each kind a few lines of shell, run in the host.
//
// Those of `bystander` do something to what is not the node's, look whether it lasts, and take it back themselves.

export type BreakageSuite = 'engine' | 'kernel' | 'host-gw' | 'iptables';
export const breakageSuites = [
  'engine',
  'kernel',
  'host-gw',
  'iptables',
] as const satisfies readonly BreakageSuite[];

export interface BreakageKind {
  readonly name: string;
  readonly suites: readonly BreakageSuite[];
  readonly script: (peer: number, other: number) => string;
  readonly bystander?: true;
}

/** iptables is the engine with rules of iptables. */
const overlay: readonly BreakageSuite[] = ['engine', 'kernel', 'iptables'];
const engine: readonly BreakageSuite[] = ['engine', 'iptables'];
const nft: readonly BreakageSuite[] = ['engine', 'kernel', 'host-gw'];

const jump = '-m comment --comment "flanneld forward" -j FLANNEL-FWD';
/** Foreign things are looked at after as long as a node takes to look at the host. */
const whileLooking = 'sleep 0.3';

const devices: readonly BreakageKind[] = [
  { name: 'device deleted', suites: overlay, script: () => 'ip link del flannel.1' },
  { name: 'device set down', suites: overlay, script: () => 'ip link set flannel.1 down' },
  { name: 'device MTU changed', suites: overlay, script: () => 'ip link set flannel.1 mtu 1280' },
  { name: 'device queue changed', suites: engine, script: () => 'ip link set flannel.1 txqueuelen 7' },
  { name: 'device renamed', suites: overlay, script: () => 'ip link set flannel.1 name stray1' },
  {
    name: 'device renamed while down',
    suites: overlay,
    script: () => 'ip link set flannel.1 down\nip link set flannel.1 name stray1',
  },
  {
    name: 'device moved away and deleted there',
    suites: overlay,
    script: () =>
      [
        'ip netns add "ky-away-$$"',
        'trap \'ip netns del "ky-away-$$"\' EXIT',
        'ip link set flannel.1 netns "ky-away-$$"',
        // The engine closes it there itself.
        'ip -n "ky-away-$$" link del flannel.1 2>/dev/null || true',
      ].join('\n'),
  },
  {
    name: 'device replaced',
    suites: ['kernel'],
    script: () =>
      'ip link del flannel.1\nip link add flannel.1 type vxlan id 9 dstport 4789 2>/dev/null || true',
  },
  {
    name: 'device MAC changed',
    suites: ['kernel'],
    script: () => 'ip link set flannel.1 address 0e:ee:ee:ee:ee:01',
  },
  { name: 'address deleted', suites: overlay, script: () => 'ip address flush dev flannel.1' },
  {
    name: 'address added',
    suites: overlay,
    script: (peer) => `ip address add 169.254.7.${peer}/16 dev flannel.1`,
  },
  {
    name: 'underlay flapped',
    suites: breakageSuites,
    script: () => 'ip link set eth0 down\nip link set eth0 up',
  },
  {
    name: 'underlay renamed for a moment',
    suites: breakageSuites,
    script: () => `ip link set eth0 name stray0\n${whileLooking}\nip link set stray0 name eth0`,
  },
  {
    name: 'underlay without address for a moment',
    suites: breakageSuites,
    script: () =>
      [
        'old=$(ip -4 -o address show dev eth0 scope global | sed "s/.*inet \\([^ ]*\\).*/\\1/")',
        'ip address del "$old" dev eth0',
        whileLooking,
        'ip address add "$old" dev eth0',
      ].join('\n'),
  },
];

const routes: readonly BreakageKind[] = [
  {
    name: 'route deleted',
    suites: overlay,
    script: (peer) => `ip route del 10.5.${peer}.0/24 dev flannel.1`,
  },
  {
    name: 'route turned',
    suites: overlay,
    script: (peer, other) => `ip route replace 10.5.${peer}.0/24 via 10.5.${other}.0 dev flannel.1 onlink`,
  },
  {
    name: 'route turned to the underlay',
    suites: overlay,
    script: (peer) => `ip route replace 10.5.${peer}.0/24 via 192.168.78.99 dev eth0`,
  },
  {
    name: 'route added',
    suites: overlay,
    script: (peer) => `ip route add 198.18.${peer}.0/24 dev flannel.1`,
  },
  { name: 'routes flushed', suites: overlay, script: () => 'ip route flush dev flannel.1' },
  {
    name: 'underlay route deleted',
    suites: ['host-gw'],
    script: (peer) => `ip route del 10.5.${peer}.0/24`,
  },
  {
    name: 'underlay route turned',
    suites: ['host-gw'],
    script: (peer) => `ip route replace 10.5.${peer}.0/24 via 192.168.78.99 dev eth0`,
  },
  {
    name: 'underlay route made a black hole',
    suites: ['host-gw'],
    script: (peer) => `ip route replace blackhole 10.5.${peer}.0/24`,
  },
  {
    name: 'underlay route of another metric',
    suites: ['host-gw'],
    script: (peer) =>
      `ip route del 10.5.${peer}.0/24\nip route add 10.5.${peer}.0/24 via 192.168.78.99 dev eth0 metric 7 proto 85`,
  },
  { name: 'our routes flushed', suites: ['host-gw'], script: () => 'ip route flush proto 85' },
  {
    name: 'route of our number added',
    suites: breakageSuites,
    script: (peer) => `ip route add 198.18.${peer}.0/24 via 192.168.78.99 dev eth0 proto 85`,
  },
];

const tables: readonly BreakageKind[] = [
  {
    name: 'neighbour deleted',
    suites: ['kernel'],
    script: (peer) => `ip neigh del 10.5.${peer}.0 dev flannel.1`,
  },
  { name: 'neighbours flushed', suites: ['kernel'], script: () => 'ip neigh flush dev flannel.1 nud all' },
  {
    name: 'neighbour changed',
    suites: ['kernel'],
    script: (peer) => `ip neigh replace 10.5.${peer}.0 lladdr 0e:ee:ee:ee:ee:ee dev flannel.1 nud permanent`,
  },
  {
    name: 'neighbour no longer permanent',
    suites: ['kernel'],
    script: (peer) => `ip neigh replace 10.5.${peer}.0 lladdr ${macOf(peer)} dev flannel.1 nud reachable`,
  },
  {
    name: 'neighbour added',
    suites: ['kernel'],
    script: (peer) => `ip neigh replace 10.9.${peer}.0 lladdr 0e:ee:ee:ee:ee:ee dev flannel.1 nud permanent`,
  },
  {
    name: 'forwarding entry deleted',
    suites: ['kernel'],
    script: (peer) => `bridge fdb del ${macOf(peer)} dev flannel.1 dst 192.168.78.${peer} self`,
  },
  {
    name: 'forwarding entry turned',
    suites: ['kernel'],
    script: (peer) => `bridge fdb replace ${macOf(peer)} dev flannel.1 dst 192.168.78.99 self permanent`,
  },
  {
    name: 'forwarding entry added',
    suites: ['kernel'],
    script: (peer) =>
      `bridge fdb append 0e:ee:ee:ee:ee:ee dev flannel.1 dst 192.168.78.${peer} self permanent`,
  },
];

const ruleKinds: readonly BreakageKind[] = [
  { name: 'table deleted', suites: nft, script: () => "nft 'delete table ip flannel-ipv4'" },
  { name: 'table flushed', suites: nft, script: () => "nft 'flush table ip flannel-ipv4'" },
  {
    name: 'table asleep',
    suites: nft,
    script: () => "nft 'add table ip flannel-ipv4 { flags dormant; }'",
  },
  { name: 'chain flushed', suites: nft, script: () => "nft 'flush chain ip flannel-ipv4 postrtg'" },
  {
    name: 'chain added',
    suites: nft,
    script: () => "nft 'add chain ip flannel-ipv4 stray'",
  },
  {
    name: 'chain policy changed',
    suites: nft,
    script: () => "nft 'chain ip flannel-ipv4 forward { policy drop; }'",
  },
  {
    name: 'rule added',
    suites: nft,
    script: () => "nft 'insert rule ip flannel-ipv4 forward drop'",
  },
  {
    name: 'rule deleted',
    suites: nft,
    script: () =>
      [
        'handle=$(nft -a list chain ip flannel-ipv4 postrtg | sed -n "s/.* # handle //p" | sed -n 2p)',
        'nft delete rule ip flannel-ipv4 postrtg handle "$handle"',
      ].join('\n'),
  },
  { name: 'jump deleted', suites: ['iptables'], script: () => `iptables -D FORWARD ${jump}` },
  { name: 'jump doubled', suites: ['iptables'], script: () => `iptables -I FORWARD ${jump}` },
  {
    name: 'jump turned',
    suites: ['iptables'],
    script: () => `iptables -D FORWARD ${jump}\niptables -A FORWARD -s 10.5.0.0/16 -j FLANNEL-FWD`,
  },
  {
    name: 'iptables chain flushed',
    suites: ['iptables'],
    script: () => 'iptables -t nat -F FLANNEL-POSTRTG',
  },
  {
    name: 'iptables chain deleted',
    suites: ['iptables'],
    script: () =>
      [
        // At once, lest the jump be back before the chain is gone.
        'iptables-restore --noflush <<end',
        ...['*filter', `-D FORWARD ${jump}`, '-F FLANNEL-FWD', '-X FLANNEL-FWD', 'COMMIT', 'end'],
      ].join('\n'),
  },
  {
    name: 'iptables rule added',
    suites: ['iptables'],
    script: () => 'iptables -I FLANNEL-FWD -j DROP',
  },
  {
    name: 'iptables rules in another order',
    suites: ['iptables'],
    script: () =>
      [
        'rule=$(iptables -t nat -S FLANNEL-POSTRTG | sed -n 3p)',
        'iptables -t nat -D FLANNEL-POSTRTG 2',
        'eval "iptables -t nat $rule"',
      ].join('\n'),
  },
  {
    name: 'iptables restored without ours',
    suites: ['iptables'],
    script: () => 'iptables-save | grep -v FLANNEL | iptables-restore',
  },
];

const bystanders: readonly BreakageKind[] = [
  {
    name: "others' default route come and gone",
    suites: breakageSuites,
    bystander: true,
    script: () =>
      ['ip route add default via 203.0.113.254', whileLooking, 'ip route del default via 203.0.113.254'].join(
        '\n',
      ),
  },
  {
    name: "others' route of a worse metric come and gone",
    suites: breakageSuites,
    bystander: true,
    script: (peer) =>
      [
        `ip route add 10.5.${peer}.0/24 via 203.0.113.254 metric 4000`,
        whileLooking,
        `ip route del 10.5.${peer}.0/24 via 203.0.113.254 metric 4000`,
      ].join('\n'),
  },
  {
    name: "others' rule come and gone",
    suites: breakageSuites,
    bystander: true,
    script: () =>
      [
        "nft 'add table ip stray { chain c { type filter hook input priority 7; tcp dport 9 drop; }; }'",
        whileLooking,
        "nft 'list table ip stray' | grep -q 'dport 9'",
        "nft 'delete table ip stray'",
      ].join('\n'),
  },
  {
    name: "others' device come and gone",
    suites: breakageSuites,
    bystander: true,
    script: () =>
      [
        'ip link add stray9 type bridge',
        'ip address add 192.0.2.9/24 dev stray9',
        'ip link set stray9 up',
        whileLooking,
        'ip address show dev stray9 | grep -q 192.0.2.9',
        'ip link del stray9',
      ].join('\n'),
  },
];

export const breakageKinds: readonly BreakageKind[] = [
  ...devices,
  ...routes,
  ...tables,
  ...ruleKinds,
  ...bystanders,
];

/** The VtepMAC of peer n in these worlds. */
export function macOf(peer: number): string {
  return `0e:00:00:00:00:${peer.toString(16).padStart(2, '0')}`;
}
