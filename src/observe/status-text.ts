// A status as people read it: what is wrong first, with its remedy; then what is; at the end what to do next.
//
// Nothing here decides what is wrong. Text that came from elsewhere (a store file, an interface name) is made harmless
// for a terminal.

import { styleText } from 'node:util';

import { oneLine } from '../errors.ts';
import type { DataplaneStatus, FirewallStatus, OverlayStatus, PeerStatus, Status } from './status.ts';

export interface TextOptions {
  /** Whether to use colours. */
  readonly color: boolean;
  /** The time now, for "up 3 h". */
  readonly now: Date;
  /** What the drop reasons mean, by name. */
  readonly meanings: ReadonlyMap<string, string>;
  /** How many peers to list at most. */
  readonly peers?: number;
}

/** How many peers are listed unless told otherwise. */
const mostPeers = 50;

type Style = Parameters<typeof styleText>[0];

export function statusText(status: Status, options: TextOptions): string {
  const paint = (style: Style, text: string): string =>
    options.color ? styleText(style, text, { validateStream: false }) : text;
  const faults = [
    ...status.problems.map(({ code, message, remedy }) =>
      paint('red', `  ${oneLine(`${code}: ${message}${remedy === '' ? '' : `; ${remedy}`}`)}`),
    ),
    ...status.warnings.map((warning) => paint('yellow', `  warning: ${oneLine(warning)}`)),
  ];
  const headline =
    status.state === 'ok'
      ? paint('green', 'ok')
      : paint(['red', 'bold'], `degraded, but forwarding where it can`);
  const sections = [
    [
      `kersey ${status.version} is ${headline}, up ${duration(status.since, options.now)} (pid ${status.pid})`,
    ],
    faults,
    facts(status, options),
    ...status.overlays.map((overlay) => overlayLines(overlay, options, paint)),
    routeLines(status, options.peers ?? mostPeers),
    repairLines(status),
    [nextCommand(status)],
  ];
  const text = sections.filter((lines) => lines.length > 0).map((lines) => lines.join('\n'));
  return `${text.join('\n\n')}\n`;
}

function facts(
  { backend, dataplane, lease, underlay, store, firewall }: Status,
  { now }: TextOptions,
): readonly string[] {
  const subnets = [lease.subnet, lease.subnet6].filter((subnet) => subnet !== null).join(' and ');
  const known = [lease.publicIP, lease.publicIPv6].filter((ip) => ip !== null).join(' and ');
  const addresses = [underlay.address, underlay.address6].filter((ip) => ip !== null).join(' and ');
  const term = lease.expires === null ? '' : `, until ${lease.expires}`;
  return columns([
    ['mode', dataplaneText(backend, dataplane)],
    ['lease', `${subnets}, known to peers as ${known}${term}`],
    ['underlay', `${underlay.iface} ${addresses}, MTU ${underlay.mtu} (${underlay.why})`],
    ['firewall', firewallText(firewall)],
    [
      'store',
      `${store.description}, ${store.state} for ${duration(store.since, now)}, ${count(store.leases, 'lease')}`,
    ],
  ]);
}

/** `vxlan on the engine: ...` */
export function dataplaneText(backend: string, { mode, why }: DataplaneStatus): string {
  const who = { engine: ' on the engine', kernel: ' by the kernel', none: '' }[mode];
  return `${backend}${who}: ${why}`;
}

/** In a line, without its name. */
export function firewallText({ mode, why, masquerade, forward }: FirewallStatus): string {
  if (mode === 'none' || mode === 'off') return `${mode} (${why})`;
  const does = [
    ...(masquerade ? ['masquerades'] : []),
    ...(forward ? ['lets forwarded traffic through'] : []),
  ];
  return `${does.length === 0 ? 'no rules are wanted' : does.join(', ')} (${why})`;
}

function overlayLines(
  overlay: OverlayStatus,
  options: TextOptions,
  paint: (style: Style, text: string) => string,
): readonly string[] {
  const { device, state, reason, address } = overlay;
  const running =
    state === 'running' ? paint('green', state) : paint('red', `${state}: ${reason ?? 'unknown'}`);
  const peers = peerTable(overlay.peers, options.peers ?? mostPeers);
  const head = `${device} ${running}, ${address}, ${wireText(overlay)}`;
  // The kernel counts neither features nor drops.
  if (overlay.kind !== 'engine') return [head, '', ...peers];
  const off = overlay.features.filter(({ on }) => !on);
  const on = overlay.features.filter((feature) => feature.on).map(({ name }) => name);
  const dropped = Object.entries(overlay.drops).filter(([, packets]) => packets > 0);
  return [
    head,
    ...columns([
      ...dropped
        .sort(([, a], [, b]) => b - a)
        .map(([name, packets]) => {
          const meaning = options.meanings.get(name);
          return [paint('yellow', 'dropped'), `${packets} ${name}${meaning ? `: ${meaning}` : ''}`] as const;
        }),
      ...off.map(({ name, reason: why }) => ['feature off', `${name}: ${why}`] as const),
      ['features on', on.length === 0 ? 'none' : on.join(' ')],
    ]),
    ...(dropped.length === 0 ? ['  dropped      nothing'] : []),
    '',
    ...peers,
  ];
}

function peerTable(peers: readonly PeerStatus[], limit: number): readonly string[] {
  if (peers.length === 0) return ['  no peers: no other host holds a lease yet'];
  const head = ['peer', 'underlay address', 'sent packets', 'bytes', 'received packets', 'bytes'];
  const rows = peers
    .slice(0, limit)
    .map(({ prefix, outer, txPackets, txBytes, rxPackets, rxBytes }) => [
      prefix,
      outer,
      amount(txPackets, String),
      amount(txBytes, bytes),
      amount(rxPackets, String),
      amount(rxBytes, bytes),
    ]);
  const left = peers.length - rows.length;
  return [
    ...table([head, ...rows]),
    ...(left > 0 ? [`  and ${count(left, 'more peer')} (-o json shows all)`] : []),
  ];
}

/** `VNI 1, UDP port 8472, MTU 1450, VTEP 9e:12:...` */
export function wireText({ vni, port, mtu, vtepMac }: OverlayStatus): string {
  return [
    ...(vni === null ? [] : [`VNI ${vni}`]),
    ...(port === null ? [] : [`UDP port ${port}`]),
    `MTU ${mtu}`,
    ...(vtepMac === null ? [] : [`VTEP ${vtepMac}`]),
  ].join(', ');
}

/** Of backends that route to peers without a device. */
function routeLines({ routes }: Status, limit: number): readonly string[] {
  if (routes.length === 0) return [];
  const rows = routes.slice(0, limit).map(({ dst, via, device }) => [dst, via, device]);
  const left = routes.length - rows.length;
  return [
    ...table([['routed to', 'by way of', 'device'], ...rows]),
    ...(left > 0 ? [`  and ${count(left, 'more route')} (-o json shows all)`] : []),
  ];
}

function amount(value: number | null, text: (value: number) => string): string {
  return value === null ? '-' : text(value);
}

function repairLines({ repairs }: Status): readonly string[] {
  const done = Object.entries(repairs).filter(([, times]) => times > 0);
  return done.length === 0 ? [] : [`repaired: ${done.map(([kind, times]) => `${kind} ${times}`).join(', ')}`];
}

/** What an operator most likely wants to know now. */
function nextCommand(status: Status): string {
  if (status.problems.length > 0) return 'next: do what the first line says, then `kersey status` again';
  const direct = status.routes.map(({ dst, via }) => ({ prefix: dst, outer: via }));
  const peer = [...status.overlays.flatMap(({ peers }) => peers), ...direct][0];
  if (peer === undefined) return `next: run \`kersey up\` with the same store on another host`;
  const [base = ''] = peer.prefix.split('/');
  return `next: \`ping ${base}\` reaches the peer ${peer.outer} through the overlay`;
}

/** `  name  text`, the texts below each other. */
function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([name]) => visible(name)), 11);
  return rows.map(([name, text]) => `  ${name}${' '.repeat(width - visible(name) + 2)}${oneLine(text)}`);
}

/** The first two columns to the left, the others, which are numbers, to the right. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows.map((row) =>
    `  ${row
      .map((cell, column) =>
        column < 2 ? oneLine(cell).padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')}`.trimEnd(),
  );
}

function visible(text: string): number {
  // The colours of styleText.
  return text.replace(/\u001b\[\d+m/g, '').length;
}

/** Powers of 1000, as links are rated. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let scaled = value;
  let unit = 0;
  while (scaled >= 999.95 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  return `${unit === 0 ? String(scaled) : scaled.toFixed(1)} ${units[unit] ?? ''}`;
}

export function duration(since: string, now: Date): string {
  const seconds = Math.max(0, Math.floor((now.getTime() - new Date(since).getTime()) / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`;
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}
