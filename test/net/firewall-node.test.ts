// A node's firewall where it counts: a container behind `kersey up` or `flanneld` sends to an outside host and to another
// node, and counters of nft at the far ends tell with which source it came.

import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';

import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { ping } from '../../src/lab/measure.ts';
import type { Status } from '../../src/observe/status.ts';
import { Daemon } from '../lib/daemon.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';

const skip = skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('nft', 'iptables', 'ip6tables');

interface World {
  readonly lab: Lab;
  readonly h1: Host;
  readonly h2: Host;
  /** A host that has heard of no overlay. */
  readonly out: Host;
  /** A container of h1. */
  readonly pod: Host;
  start(host: Host, ...more: readonly string[]): Daemon;
}

async function world(t: Test, config: object = {}): Promise<World> {
  const lab = await Lab.open({ hosts: ['h1', 'h2', 'out', 'pod'] });
  t.teardown(() => lab.close());
  const store = path.join(lab.directory, 'network.json');
  const network = { Network: '10.5.0.0/16', EnableIPv6: true, IPv6Network: 'fd00:5::/48', ...config };
  writeFileSync(store, JSON.stringify({ config: { ...network, Backend: { Type: 'vxlan' } }, leases: {} }));
  const start = (host: Host, ...more: readonly string[]): Daemon =>
    new Daemon(host, store, path.join(lab.directory, host.name), ['--iface', 'eth0', ...more]);
  const [h1, h2, out, pod] = [lab.host('h1'), lab.host('h2'), lab.host('out'), lab.host('pod')];
  return { lab, h1, h2, out, pod, start };
}

interface Addresses {
  readonly four: string;
  readonly six: string;
}

function bases({ lease }: Status): Addresses {
  const base = (subnet: string | null): string => (subnet ?? '').split('/')[0] ?? '';
  return { four: base(lease.subnet), six: base(lease.subnet6) };
}

/** Gives the container an address of h1's subnets, as a CNI plugin would. @returns its addresses */
async function attach({ h1, pod }: World, status: Status): Promise<Addresses> {
  const { four, six } = bases(status);
  const [gateway, address] = [four.replace(/0$/, '1'), four.replace(/0$/, '10')];
  await h1.ip(
    `link add pod0 type veth peer name eth1 netns ${pod.netns}`,
    `address add ${gateway}/24 dev pod0`,
    `address add ${six}1/64 dev pod0 nodad`,
    'link set pod0 up',
  );
  await h1.sysctl('net.ipv4.ip_forward', 1);
  await h1.sysctl('net.ipv6.conf.all.forwarding', 1);
  await pod.ip(
    'link set eth0 down',
    `address add ${address}/24 dev eth1`,
    `address add ${six}10/64 dev eth1 nodad`,
    'link set eth1 up',
    `route add default via ${gateway}`,
    `route add ::/0 via ${six}1`,
  );
  return { four: address, six: `${six}10` };
}

/** Counts echo requests by their sources, from now on. @returns the counts */
async function countSources(
  host: Host,
  sources: readonly string[],
): Promise<() => Promise<readonly number[]>> {
  const rules = sources.map((ip, i) => `${ip.includes(':') ? 'ip6' : 'ip'} saddr ${ip} counter name c${i}`);
  const input = [
    'table inet seen {',
    ...sources.map((_, i) => `  counter c${i} { }`),
    '  chain input { type filter hook input priority 0; policy accept;',
    ...rules.map((rule) => `    meta l4proto { icmp, ipv6-icmp } ${rule}`),
    '  }',
    '}',
    '',
  ].join('\n');
  await host.exec(['nft', '-f', '-'], { input });
  return async () => {
    const { stdout } = await host.exec(['nft', 'list', 'counters', 'table', 'inet', 'seen']);
    return [...stdout.matchAll(/packets (\d+)/g)].map(([, packets]) => Number(packets));
  };
}

async function ours(host: Host): Promise<string> {
  const { stdout } = await host.exec([
    'sh',
    '-c',
    'nft list ruleset 2>/dev/null; iptables-save; ip6tables-save',
  ]);
  return stdout
    .split('\n')
    .filter((line) => /flannel|FLANNEL/.test(line))
    .join('\n');
}

for (const mode of ['nft', 'iptables'] as const) {
  t.test(`${mode}: what leaves the network is masqueraded, what stays inside is not`, { skip }, async (t) => {
    const w = await world(t);
    const daemons = [w.start(w.h1, '--ip-masq', '--firewall', mode), w.start(w.h2)] as const;
    const [s1, s2] = await Promise.all(
      daemons.map((daemon) =>
        daemon.until('knows the other', ({ overlays }) => overlays.every(({ peers }) => peers.length === 1)),
      ),
    );
    if (s1 === undefined || s2 === undefined) throw new Error('no status');
    t.match(s1, {
      state: 'ok',
      firewall: { mode, masquerade: true, forward: true, why: new RegExp(`--firewall ${mode}`) },
    });
    t.match(s2.firewall, { masquerade: false, forward: true });
    t.match(readFileSync(daemons[0].subnetFile, 'utf8'), /^FLANNEL_IPMASQ=true$/m);
    t.match(readFileSync(daemons[1].subnetFile, 'utf8'), /^FLANNEL_IPMASQ=false$/m);
    const pod = await attach(w, s1);
    const sources = [w.h1.address4, w.h1.address6, pod.four, pod.six];
    const outside = await countSources(w.out, sources);
    for (const target of [w.out.address4, w.out.address6]) {
      t.equal(
        (await ping(w.pod, target, { count: 3, intervalS: 0.2 })).received,
        3,
        `${target} answers the container`,
      );
    }
    const [host4 = 0, host6 = 0, pod4, pod6] = await outside();
    t.ok(host4 >= 3 && host6 >= 3, `the outside saw the host: ${host4} and ${host6} packets`);
    t.same([pod4, pod6], [0, 0], 'and never the container');

    const inside = await countSources(w.h2, [pod.four, pod.six]);
    const { four, six } = bases(s2);
    for (const target of [four, six]) {
      await awaitCondition(
        'the other node',
        async () => (await ping(w.pod, target, { count: 1 })).received === 1,
      );
    }
    const [seen4 = 0, seen6 = 0] = await inside();
    t.ok(seen4 >= 1 && seen6 >= 1, 'the other node saw the container itself');

    // What a firewall with this policy drops, the forward rules let through, where they are in the same table.
    if (mode === 'iptables') {
      await w.h1.exec(['iptables', '-P', 'FORWARD', 'DROP']);
      t.equal(
        (await ping(w.pod, four, { count: 2, intervalS: 0.2 })).received,
        2,
        'also with FORWARD at DROP',
      );
    }
    const rules = await ours(w.h1);
    t.equal(await daemons[0].end(), 0);
    t.equal(await ours(w.h1), rules, 'the rules stay when the daemon ends');
  });

  t.test(`${mode}: what others break is mended and counted`, { skip }, async (t) => {
    const w = await world(t);
    const daemon = w.start(w.h1, '--ip-masq', '--firewall', mode, '--iptables-resync', '1');
    t.equal((await daemon.ready()).repairs['firewall'], 0);
    const whole = await ours(w.h1);
    const breakages: readonly string[] =
      mode === 'nft'
        ? [
            'nft delete table ip flannel-ipv4',
            'nft flush chain ip6 flannel-ipv6 postrtg',
            'nft flush ruleset',
          ]
        : ['iptables -t nat -F FLANNEL-POSTRTG', 'ip6tables -D FLANNEL-FWD 1', 'iptables -F FORWARD'];
    for (const breakage of breakages) {
      const before = (await daemon.status())?.repairs['firewall'] ?? 0;
      await w.h1.exec(['sh', '-c', breakage]);
      const status = await daemon.until(
        `mends '${breakage}'`,
        ({ repairs }) => (repairs['firewall'] ?? 0) > before,
      );
      t.match(status, { state: 'ok', problems: [] });
      await awaitCondition('the rules as before', async () => (await ours(w.h1)) === whole);
    }
    t.match(daemon.process.stderr, /repaired: (nft table|iptables).*; put back/);
  });
}

t.test('a start with another mode removes what the earlier one left', { skip }, async (t) => {
  const w = await world(t, { EnableNFTables: true });
  const first = w.start(w.h1, '--ip-masq', '--firewall', 'iptables');
  await first.ready();
  await first.end('SIGKILL');
  t.match(await ours(w.h1), /FLANNEL-POSTRTG/);
  const second = w.start(w.h1);
  const status = await second.ready();
  t.match(status.firewall, { mode: 'nft', why: /EnableNFTables/, masquerade: false, forward: true });
  t.notMatch(await ours(w.h1), /FLANNEL|postrtg/);
  t.match(await ours(w.h1), /flannel-ipv4[^]*flannel-ipv6/);
  await second.end();
  const third = w.start(w.h1, '--no-forward-rules');
  t.match((await third.ready()).firewall, { masquerade: false, forward: false });
  t.equal(await ours(w.h1), '', 'what is not wanted any more is gone');
  await third.end();
  const fourth = w.start(w.h1, '--firewall', 'off');
  t.match((await fourth.ready()).firewall, { mode: 'off' });
});

t.test('where nothing makes rules', { skip }, async (t) => {
  const w = await world(t);
  const broken = path.join(w.lab.directory, 'broken');
  await w.h1.exec([
    ...[
      'sh',
      '-ec',
      'mkdir "$0"; for p in nft iptables; do printf "#!/bin/sh\\nexit 3\\n" > "$0/$p"; chmod +x "$0/$p"; done',
    ],
    broken,
  ]);
  const before = process.env['PATH'] ?? '';
  process.env['PATH'] = `${broken}:${before}`;
  t.teardown(() => {
    process.env['PATH'] = before;
  });
  const asked = w.start(w.h1, '--ip-masq');
  t.equal(await asked.process.exited, 1, 'asked for by name it is a refusal');
  t.match(
    asked.process.stderr,
    /FIREWALL: nothing here makes firewall rules: .*; install nftables or iptables/,
  );
  const link = await w.h1.exec(['ip', 'link']);
  t.notMatch(link.stdout, /flannel/, 'and everything is undone');
  const other = w.start(w.h1);
  const status = await other.ready();
  t.match(status, { state: 'ok', firewall: { mode: 'none' }, warnings: [/no firewall rules are made/] });
});
