// What other programs do to a host, at random but by a seed: and how long until a node has put it right.
//
// Right is judged by what `ip`, `bridge`, `nft` and `iptables-save` print, compared with what they printed before. What
// is not ours (a device, addresses, routes, a neighbour, rules) is on the host as well, and must read the same.

import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';

import type { Host } from '../../src/lab/host.ts';
import { breakageKinds } from './breakage-kinds.ts';
import type { BreakageKind, BreakageSuite } from './breakage-kinds.ts';

export interface BreakageTarget {
  readonly host: Host;
  readonly suite: BreakageSuite;
  /** The peers' subnets are 10.5.<n>.0/24 of 192.168.78.<n>. */
  readonly peers: readonly number[];
}

export interface Breakage {
  readonly name: string;
  /** What was broken together with it, and was right again at the same time. */
  readonly together: number;
  /** From the last of them. */
  readonly seconds: number;
}

/** mulberry32: small, and the same everywhere. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** All that should be as before, in the words of the tools. */
export async function portrait(host: Host): Promise<string> {
  const script = [
    // Without IPv6, which the underlay loses when it goes down.
    'ip -4 -o address show | sed -e "s/^[0-9]*: //" -e "s/ *valid_lft.*//" | grep -v -e "scope link" | sort',
    // A TAP of the engine is called by the index of its device; its MAC address is the kernel's choice.
    'ip -o link show | sed -e "s/^[0-9]*: //" -e "s/@[^:]*:/:/" -e "s/ qdisc.* qlen / qlen /" -e "s/ qdisc.*link/ link/"' +
      ' -e "s/state [A-Z]* //" -e "/^kersey[0-9]*-/{s/^kersey[0-9]*/kersey/;s/ether .*//}" | sort',
    'ip -4 route show table main | sort',
    'ip neigh show nud permanent | sort',
    'bridge fdb show dev flannel.1 2>/dev/null | sort',
    'nft list ruleset | sed "s/packets [0-9]* bytes [0-9]* //"',
    'iptables-save | grep -v "^#" | sed "s/ \\[[0-9:]*\\]$//"',
  ].join('\n');
  const { stdout } = await host.exec(['sh', '-c', script]);
  return stdout;
}

/**
 * Breaks `count` things, mostly one at a time, sometimes several at once, and waits after each time until the host is
 * right again. @throws Error when it is not within `patience` seconds, or when something foreign did not last
 */
export async function breakAndWatch(
  target: BreakageTarget,
  count: number,
  seed: number,
  patience = 20,
): Promise<readonly Breakage[]> {
  const random = randomOf(seed);
  const right = await portrait(target.host);
  const done: Breakage[] = [];
  while (done.length < count) {
    const dice = random();
    const wanted = dice < 0.65 ? 1 : dice < 0.9 ? 2 : 4;
    const names: string[] = [];
    let start = performance.now();
    for (let n = 0; n < wanted; n++) {
      const { kind, script } = pickOne(target, random);
      const { exitCode, stderr } = await target.host.exec(['sh', '-ec', script], { anyExit: true });
      start = performance.now();
      if (exitCode === 0) names.push(kind.name);
      // What follows another may be refused: there is no device whose MTU could be changed.
      else if (kind.bystander === true || n === 0)
        throw new Error(`seed ${seed}, after ${done.length}: ${kind.name}: ${stderr}`);
    }
    await untilRight(
      target.host,
      right,
      start,
      patience,
      () => `seed ${seed}, after ${done.length}: ${names.join(' and ')}`,
    );
    const seconds = (performance.now() - start) / 1000;
    for (const name of names) done.push({ name, together: names.length, seconds });
  }
  return done;
}

function pickOne(
  { suite, peers }: BreakageTarget,
  random: () => number,
): { readonly kind: BreakageKind; readonly script: string } {
  const pick = <T>(list: readonly T[]): T => {
    const item = list[Math.floor(random() * list.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  };
  const kind = pick(breakageKinds.filter(({ suites }) => suites.includes(suite)));
  const peer = pick(peers);
  const other = pick(peers.filter((n) => n !== peer));
  return { kind, script: kind.script(peer, other) };
}

async function untilRight(
  host: Host,
  right: string,
  start: number,
  patience: number,
  what: () => string,
): Promise<void> {
  for (;;) {
    const now = await portrait(host);
    if (now === right) return;
    if (performance.now() - start > patience * 1000) {
      throw new Error(`${what()}: the host stays wrong:\n${difference(right, now)}`);
    }
    await delay(20);
  }
}

function difference(before: string, now: string): string {
  const [old, fresh] = [before.split('\n'), now.split('\n')];
  const lines = [
    ...old.filter((line) => !fresh.includes(line)).map((line) => `- ${line}`),
    ...fresh.filter((line) => !old.includes(line)).map((line) => `+ ${line}`),
  ];
  return lines.length === 0 ? 'the same lines in another order, or more often' : lines.join('\n');
}
