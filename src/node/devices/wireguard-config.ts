// What a WireGuard device has, what it should have, and the difference in the words of `wg`.
//
// Sources: wg(8), `show <interface> dump` and CONFIGURATION FILE FORMAT.
//
// An endpoint is not simply compared. WireGuard itself follows a peer that is heard from another address (behind a NAT,
// for example), and to set it back every time would cut such a peer off. So an endpoint is set when the plan's changes,
// and when it is another one and the peer has not been heard for as long as a session can last.

import type { WireguardDevicePlan, WireguardPeer } from '../../backend/plan.ts';

export interface LiveDevice {
  /** undefined: none yet. */
  readonly privateKey: string | undefined;
  readonly listenPort: number;
  readonly peers: ReadonlyMap<string, LivePeer>;
}

export interface LivePeer {
  readonly presharedKey: string | undefined;
  readonly endpoint: string | undefined;
  /** Sorted. */
  readonly allowedIps: readonly string[];
  /** Seconds since 1970; 0: never. */
  readonly latestHandshake: number;
  readonly keepalive: number;
}

export interface Difference {
  /** Of the device itself. */
  readonly privateKey: boolean;
  readonly listenPort: boolean;
  readonly set: readonly { readonly peer: WireguardPeer; readonly endpoint: boolean }[];
  /** Public keys of peers that nobody has planned. */
  readonly remove: readonly string[];
}

/** REJECT_AFTER_TIME of the protocol, in seconds: no session is older. */
const longestSession = 180;
/** How `wg` writes that there is no pre-shared key. */
const noPresharedKey = Buffer.alloc(32).toString('base64');

/** Reads what `wg show <interface> dump` prints; undefined when it is something else. */
export function parseDump(text: string): LiveDevice | undefined {
  const [first = '', ...rest] = text.split('\n').filter((line) => line !== '');
  const [privateKey, publicKey, listenPort, fwmark] = first.split('\t');
  if (
    privateKey === undefined ||
    publicKey === undefined ||
    listenPort === undefined ||
    fwmark === undefined
  ) {
    return undefined;
  }
  const peers = new Map<string, LivePeer>();
  for (const line of rest) {
    const [key, psk, endpoint, allowedIps, handshake, , , keepalive] = line.split('\t');
    if (key === undefined || allowedIps === undefined || keepalive === undefined) return undefined;
    peers.set(key, {
      presharedKey: given(psk),
      endpoint: given(endpoint),
      allowedIps: given(allowedIps)?.split(',').sort() ?? [],
      latestHandshake: Number(handshake),
      keepalive: keepalive === 'off' ? 0 : Number(keepalive),
    });
  }
  return { privateKey: given(privateKey), listenPort: Number(listenPort), peers };
}

/**
 * @param before the endpoints that were set last, by public key
 * @param now seconds since 1970
 */
export function compare(
  plan: WireguardDevicePlan,
  live: LiveDevice,
  before: ReadonlyMap<string, string>,
  now: number,
): Difference {
  const set: { peer: WireguardPeer; endpoint: boolean }[] = [];
  const planned = new Set<string>();
  for (const peer of plan.peers) {
    planned.add(peer.publicKey);
    const has = live.peers.get(peer.publicKey);
    const endpoint = has === undefined || endpointIsWrong(has, peer, before.get(peer.publicKey), now);
    if (endpoint || !sameSettings(has, peer)) set.push({ peer, endpoint });
  }
  return {
    privateKey: live.privateKey !== plan.privateKey,
    listenPort: live.listenPort !== plan.listenPort,
    set,
    remove: [...live.peers.keys()].filter((key) => !planned.has(key)),
  };
}

export function isEmpty({ privateKey, listenPort, set, remove }: Difference): boolean {
  return !privateKey && !listenPort && set.length === 0 && remove.length === 0;
}

/** For `wg addconf`, which leaves alone what is not said; undefined when there is nothing to say. */
export function configText(plan: WireguardDevicePlan, difference: Difference): string | undefined {
  const lines: string[] = [];
  if (difference.privateKey || difference.listenPort) lines.push('[Interface]');
  if (difference.privateKey) lines.push(`PrivateKey = ${plan.privateKey}`);
  if (difference.listenPort) lines.push(`ListenPort = ${plan.listenPort}`);
  for (const { peer, endpoint } of difference.set) {
    lines.push(
      '[Peer]',
      `PublicKey = ${peer.publicKey}`,
      `PresharedKey = ${peer.presharedKey ?? noPresharedKey}`,
      `AllowedIPs = ${peer.allowedIps.join(', ')}`,
      `PersistentKeepalive = ${peer.keepalive}`,
    );
    if (endpoint) lines.push(`Endpoint = ${peer.endpoint}`);
  }
  return lines.length === 0 ? undefined : `${lines.join('\n')}\n`;
}

/** @param before what was set last */
function endpointIsWrong(
  live: LivePeer,
  peer: WireguardPeer,
  before: string | undefined,
  now: number,
): boolean {
  if (live.endpoint === peer.endpoint) return false;
  if (live.endpoint === undefined || before !== peer.endpoint) return true;
  return now - live.latestHandshake > longestSession;
}

function sameSettings(live: LivePeer, peer: WireguardPeer): boolean {
  return (
    live.presharedKey === peer.presharedKey &&
    live.keepalive === peer.keepalive &&
    live.allowedIps.join() === [...peer.allowedIps].sort().join()
  );
}

function given(text: string | undefined): string | undefined {
  return text === undefined || text === '(none)' ? undefined : text;
}
