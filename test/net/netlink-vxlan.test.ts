// The codecs for tunnel devices, neighbours, forwarding entries and blackholes, with iproute2 as the second opinion:
// what we make is what `ip` and `bridge` say, and what they make we read as they say it.

import { execFileSync, spawnSync } from 'node:child_process';
import fc from 'fast-check';
import t from 'tap';

import { errnoName } from '../../src/errors.ts';
import { formatIp } from '../../src/net/ip.ts';
import { formatMac } from '../../src/net/mac.ts';
import { Netlink } from '../../src/netlink/client.ts';
import type { ForwardingChange } from '../../src/netlink/fdb.ts';
import { NetlinkEvents } from '../../src/netlink/events.ts';
import { encodeLinkCreate } from '../../src/netlink/link.ts';
import type { Link } from '../../src/netlink/link.ts';
import { Attributes } from '../../src/netlink/wire.ts';
import { inOwnNetns } from '../lib/own-netns.ts';
import { skipUnlessInstalled } from '../lib/requirements.ts';

function tool(name: string, args: readonly string[], input = ''): string {
  return execFileSync(name, args, { encoding: 'utf8', input, stdio: ['pipe', 'pipe', 'pipe'] });
}

function ip(line: string): string {
  return tool('ip', line.split(' '));
}

function batch(name: 'ip' | 'bridge', lines: readonly string[]): void {
  tool(name, ['-batch', '-'], lines.join('\n'));
}

// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller states what iproute2 documents
function json<T>(name: 'ip' | 'bridge', line: string): readonly T[] {
  const text = tool(name, ['-j', ...line.split(' ')]).trim();
  return text === '' ? [] : (JSON.parse(text) as T[]);
}

interface IpTunnelLink {
  readonly ifname: string;
  readonly mtu: number;
  readonly address: string;
  readonly linkinfo: {
    readonly info_kind: string;
    readonly info_data: Readonly<Record<string, string | number | boolean | undefined>>;
  };
}

/** What `ip -d link` says of a vxlan device, in our words. */
function vxlanShown({ ifname, mtu, address, linkinfo }: IpTunnelLink, underlay: Link): object {
  const data = linkinfo.info_data;
  const on = (key: string): boolean => data[key] === true;
  return {
    name: ifname,
    mtu,
    mac: address,
    kind: linkinfo.info_kind,
    tunnel: {
      kind: 'vxlan',
      vni: data['id'] ?? 0,
      port: data['port'],
      local: data['local'] ?? data['local6'],
      underlay: data['link'] === undefined ? undefined : underlay.index,
      group: data['group'] ?? data['group6'] ?? data['remote'] ?? data['remote6'],
      learning: on('learning'),
      gbp: on('gbp'),
      ttl: data['ttl'] ?? 0,
      tos: data['tos'] === undefined ? 0 : data['tos'] === 'inherit' ? 1 : Number(data['tos']),
      proxy: on('proxy'),
      rsc: on('rsc'),
      l2miss: on('l2miss'),
      l3miss: on('l3miss'),
      external: on('external'),
      gpe: on('gpe'),
      zeroChecksum6: { sent: on('udp_zero_csum6_tx'), accepted: on('udp_zero_csum6_rx') },
    },
  };
}

function vxlanRead({ name, mtu, mac, kind, tunnel }: Link): object {
  return { name, mtu, mac, kind, tunnel };
}

const family = fc.constantFrom<4 | 6>(4, 6);
const address = (of: 4 | 6): fc.Arbitrary<string> =>
  of === 4
    ? fc.bigInt(0x0a000001n, 0x0afffffen).map((value) => formatIp(4, value))
    : fc.bigInt(0xfd00n << 112n, (0xfd01n << 112n) - 1n).map((value) => formatIp(6, value));
const unicastMac = fc
  .uint8Array({ minLength: 6, maxLength: 6 })
  .map((bytes) => formatMac(Uint8Array.of(((bytes[0] ?? 0) & 0xfc) | 2, ...bytes.subarray(1))));
const port = fc.integer({ min: 1, max: 65_535 });
const vni = fc.integer({ min: 0, max: 0xffffff });

if (inOwnNetns(import.meta.filename)) {
  const netlink = Netlink.open();
  t.teardown(() => {
    netlink.close();
  });
  batch('ip', ['link set lo up', 'link add u0 type veth peer name u1', 'link set u0 up', 'link set u1 up']);
  const device = (name: string): Link => {
    const link = netlink.link(name);
    if (link === undefined) throw new Error(`no ${name}`);
    return link;
  };
  const u0 = device('u0');

  const probe = spawnSync('ip', 'link add probe type vxlan id 1 dstport 4790'.split(' '), {
    encoding: 'utf8',
  });
  const noVxlan = probe.status !== 0 && `this kernel makes no vxlan device: ${probe.stderr.trim()}`;
  if (probe.status === 0) ip('link del probe');

  /** A device for entries; names and VNIs are a test's own. */
  const makeVxlan = (name: string, of: 4 | 6, id: number): Link => {
    const link = netlink.createLink({
      name,
      mtu: 1400,
      tunnel: {
        kind: 'vxlan',
        vni: id,
        port: 8472,
        local: of === 4 ? '10.0.0.1' : 'fd00::1',
        underlay: u0.index,
      },
    });
    netlink.setLink(link, { up: true });
    return device(name);
  };

  t.test('a link tells its parent and its master', async (t) => {
    batch('ip', ['link add br7 type bridge', 'link add w0 type veth peer name w1', 'link set w0 master br7']);
    const [w0, w1, br7] = [device('w0'), device('w1'), device('br7')];
    t.same([w0.parent, w0.master, w0.tunnel], [w1.index, br7.index, undefined]);
    t.same([w1.parent, w1.master, br7.parent, br7.master], [w0.index, undefined, undefined, undefined]);
    batch('ip', ['link del w0', 'link del br7']);
  });

  t.test('vxlan devices that we make are what `ip -d link` says', { skip: noVxlan }, async (t) => {
    const wanted = family.chain((of) =>
      fc.record({
        vni,
        port,
        mac: unicastMac,
        mtu: fc.integer({ min: 1280, max: 1430 }),
        local: fc.option(address(of), { nil: undefined }),
        learning: fc.boolean(),
        gbp: fc.boolean(),
        onUnderlay: fc.boolean(),
      }),
    );
    fc.assert(
      fc.property(wanted, ({ mac, mtu, local, onUnderlay, ...rest }) => {
        const link = netlink.createLink({
          name: 'flannel.1',
          mtu,
          mac,
          tunnel: {
            kind: 'vxlan',
            ...rest,
            ...(local !== undefined && { local }),
            ...(onUnderlay && { underlay: u0.index }),
          },
        });
        const [shown] = json<IpTunnelLink>('ip', '-d link show flannel.1');
        netlink.deleteLink(link);
        t.ok(shown);
        if (shown === undefined) return;
        t.same(vxlanRead(link), vxlanShown(shown, u0));
        t.match(vxlanRead(link), { mtu, mac, tunnel: { ...rest, local } });
        t.match(link.tunnel, {
          underlay: onUnderlay ? u0.index : undefined,
          group: undefined,
          ttl: 0,
          tos: 0,
        });
        t.match(link.tunnel, { proxy: false, rsc: false, l2miss: false, l3miss: false, external: false });
      }),
      { numRuns: 25 },
    );
  });

  t.test('vxlan devices that `ip` makes are read as it says', { skip: noVxlan }, async (t) => {
    const some = (word: string): fc.Arbitrary<string> => fc.constantFrom('', ` ${word}`);
    const line = family.chain((of) =>
      fc
        .record({
          local: fc.option(
            address(of).map((text) => ` local ${text}`),
            { nil: '' },
          ),
          // A group needs an interface, so there always is one here.
          group: fc.option(
            fc.oneof(
              address(of).map((text) => ` remote ${text}`),
              fc.constant(of === 4 ? ' group 239.1.1.1' : ' group ff05::100'),
            ),
            { nil: '' },
          ),
          port,
          ttl: fc.integer({ min: 0, max: 255 }),
          tos: fc.constantFrom('0', 'inherit', '0x28'),
          flags: fc.tuple(
            fc.constantFrom(' learning', ' nolearning'),
            some('proxy'),
            some('rsc'),
            some('l2miss'),
            some('l3miss'),
            some('gbp'),
            some('udp6zerocsumtx'),
            some('udp6zerocsumrx'),
          ),
        })
        .map(
          ({ local, group, port: number, ttl, tos, flags }) =>
            `dev u0${local}${group} dstport ${number} ttl ${ttl} tos ${tos}${flags.join('')}`,
        ),
    );
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(vni, line), { selector: ([id]) => id, minLength: 3, maxLength: 6 }),
        (all) => {
          batch(
            'ip',
            all
              .map(([id, rest], i) => `link add x${i} type vxlan id ${id} ${rest}`)
              .concat(['link add x9 type vxlan external gpe dstport 4790']),
          );
          const shown = json<IpTunnelLink>('ip', '-d link show type vxlan').map((link) =>
            vxlanShown(link, u0),
          );
          const read = netlink.links().filter(({ kind }) => kind === 'vxlan');
          t.same(read.map(vxlanRead), shown);
          t.equal(read.length, all.length + 1);
          batch(
            'ip',
            read.map(({ name }) => `link del ${name}`),
          );
        },
      ),
      { numRuns: 8 },
    );
  });

  t.test('the MAC address of a device is changed', { skip: noVxlan }, async (t) => {
    const link = makeVxlan('mac0', 4, 77);
    netlink.setLink(link, { mac: '0e:2a:00:00:00:09' });
    t.equal(json<IpTunnelLink>('ip', 'link show mac0')[0]?.address, '0e:2a:00:00:00:09');
    t.ok(device('mac0').up, 'and it stays up');
    netlink.deleteLink(link);
  });

  t.test('ipip devices are asked for in the words of `ip link add`', async (t) => {
    const reason = skipUnlessInstalled('strace');
    if (reason !== false) {
      t.pass('against `ip`', { skip: reason });
      return;
    }
    fc.assert(
      fc.property(address(4), fc.boolean(), (local, onUnderlay) => {
        const words =
          `link add ip9 mtu 1480 type ipip local ${local} remote any nopmtudisc ttl 0 tos 0` +
          (onUnderlay ? ' dev u0' : '');
        // Whether this kernel makes the device or not: we want what was asked.
        const { stderr } = spawnSync(
          'strace',
          ['-e', 'trace=sendmsg', '-e', 'write=all', '-s', '4096', 'ip', ...words.split(' ')],
          { encoding: 'utf8' },
        );
        spawnSync('ip', ['link', 'del', 'ip9'], { stdio: 'ignore' });
        const sent = sentBytes(stderr).find((bytes) => bytes.readUInt16LE(4) === 16);
        t.ok(sent, 'strace saw the request');
        if (sent === undefined) return;
        const ours = encodeLinkCreate({
          name: 'ip9',
          mtu: 1480,
          tunnel: { kind: 'ipip', local, ...(onUnderlay && { underlay: u0.index }) },
        });
        const [a, b] = [new Attributes(ours.subarray(32)), new Attributes(sent.subarray(32))];
        for (const type of [3, 4]) t.same(a.bytes(type), b.bytes(type), `attribute ${type}`);
        const [infoA, infoB] = [a.nested(18), b.nested(18)];
        t.equal(infoA?.text(1), 'ipip');
        t.equal(infoB?.text(1), 'ipip');
        const [dataA, dataB] = [infoA?.nested(2), infoB?.nested(2)];
        for (let type = 1; type <= 20; type++) {
          const theirs = dataB?.bytes(type);
          const own = dataA?.bytes(type);
          // What we leave out `ip` says as 0, which is the kernel's default.
          if (own === undefined) t.ok(theirs?.every((byte) => byte === 0) ?? true, `${type} is 0`);
          else t.same(own, theirs, `IFLA_IPTUN ${type}`);
        }
      }),
      { numRuns: 4 },
    );
  });

  t.test('ipip devices are what `ip -d link` says', async (t) => {
    const { status, stderr } = spawnSync('ip', 'link add ip8 type ipip local 10.0.0.1'.split(' '), {
      encoding: 'utf8',
    });
    if (status !== 0) {
      t.pass('an ipip device', { skip: `this kernel makes none: ${stderr.trim()}` });
      return;
    }
    ip('link del ip8');
    const link = netlink.createLink({ name: 'ip8', mtu: 1480, tunnel: { kind: 'ipip', local: '10.0.0.1' } });
    const [shown] = json<IpTunnelLink>('ip', '-d link show ip8');
    const data = shown?.linkinfo.info_data;
    t.same(
      [data?.['local'], data?.['remote'], data?.['ttl'], data?.['pmtudisc']],
      ['10.0.0.1', 'any', 0, false],
    );
    t.match(link.tunnel, { kind: 'ipip', local: '10.0.0.1', ttl: 0, tos: 0, pathMtuDiscovery: false });
    t.match(link.tunnel, { remote: undefined, underlay: undefined, external: false, encapsulated: false });
    netlink.deleteLink(link);
  });

  t.test('neighbours: what we set `ip` shows, what `ip` sets we read', { skip: noVxlan }, async (t) => {
    interface IpNeighbour {
      readonly dst: string;
      readonly lladdr?: string;
      readonly state: readonly string[];
    }
    const link = makeVxlan('n0', 4, 1);
    const other = makeVxlan('n1', 4, 2);
    const one = family.chain((of) =>
      fc.record({ ip: address(of), mac: unicastMac, permanent: fc.boolean(), byUs: fc.boolean() }),
    );
    fc.assert(
      fc.property(
        fc.uniqueArray(one, { selector: (entry) => entry.ip, minLength: 1, maxLength: 20 }),
        (all) => {
          netlink.changeNeighbours([
            { action: 'replace', neighbour: { device: other, ip: '10.9.9.9', mac: '0e:00:00:00:00:01' } },
          ]);
          const ours = all.filter(({ byUs }) => byUs);
          const theirs = all.filter(({ byUs }) => !byUs);
          const operations = ours.map((entry) => ({
            action: 'replace' as const,
            neighbour: { device: link, ip: entry.ip, mac: entry.mac },
          }));
          t.same(netlink.changeNeighbours([...operations, ...operations]), []);
          batch(
            'ip',
            theirs.map(
              (entry) =>
                `neigh add ${entry.ip} lladdr ${entry.mac} dev n0 nud ${entry.permanent ? 'permanent' : 'noarp'}`,
            ),
          );
          for (const of of [4, 6] as const) {
            // Multicast neighbours come by themselves, at any time.
            const shown = json<IpNeighbour>('ip', `-${of} neigh show dev n0 nud all`)
              .filter(({ dst }) => !dst.startsWith('ff'))
              .map(({ dst, lladdr, state }) => `${dst} ${String(lladdr)} ${state.includes('PERMANENT')}`)
              .sort();
            const read = netlink
              .neighbours(of, link)
              .filter((entry) => !entry.ip.startsWith('ff'))
              .map((entry) => `${entry.ip} ${String(entry.mac)} ${entry.permanent}`)
              .sort();
            t.same(read, shown);
            for (const entry of all.filter((candidate) => candidate.ip.includes(':') === (of === 6))) {
              t.ok(read.includes(`${entry.ip} ${entry.mac} ${entry.byUs || entry.permanent}`), entry.ip);
            }
          }
          const deletions = all.map((entry) => ({
            action: 'delete' as const,
            neighbour: { device: link, ip: entry.ip, mac: entry.mac },
          }));
          t.same(netlink.changeNeighbours(deletions), []);
          const left = [...netlink.neighbours(4, link), ...netlink.neighbours(6, link)];
          t.same(
            left.filter((entry) => all.some((gone) => gone.ip === entry.ip && entry.mac === gone.mac)),
            [],
          );
          t.same(netlink.changeNeighbours(deletions), [], 'twice as well');
        },
      ),
      { numRuns: 15 },
    );
    t.equal(netlink.neighbours(4, other).length, 1, 'those of another device are left alone');
    netlink.deleteLink(link);
    netlink.deleteLink(other);
  });

  t.test(
    'forwarding entries: what we set `bridge` shows, what it sets we read',
    { skip: noVxlan },
    async (t) => {
      interface BridgeEntry {
        readonly mac: string;
        readonly dst?: string;
        readonly port?: number;
        readonly vni?: number;
        readonly via?: string;
        readonly viaIf?: string;
        readonly state: string;
      }
      const link4 = makeVxlan('f4', 4, 3);
      const link6 = makeVxlan('f6', 6, 3);
      makeVxlan('f9', 4, 9);
      const groupMac = fc.constantFrom('00:00:00:00:00:00', '01:00:5e:00:00:fb', '33:33:00:00:00:fb');
      const one = (of: 4 | 6): fc.Arbitrary<Omit<ForwardingChange, 'device'> & { byUs: boolean }> =>
        fc.record({
          mac: fc.oneof(unicastMac, unicastMac, groupMac),
          dst: address(of),
          byUs: fc.boolean(),
          ...{ port: fc.option(port, { nil: undefined }), vni: fc.option(vni, { nil: undefined }) },
          via: fc.option(fc.constant(u0.index), { nil: undefined }),
        }) as fc.Arbitrary<Omit<ForwardingChange, 'device'> & { byUs: boolean }>;
      const list = family.chain((of) =>
        fc.tuple(
          fc.constant(of),
          fc.uniqueArray(one(of), {
            // A unicast address has one destination.
            selector: ({ mac, dst }) => (isGroup(mac) ? `${mac} ${String(dst)}` : mac),
            minLength: 1,
            maxLength: 20,
          }),
        ),
      );
      fc.assert(
        fc.property(list, ([of, all]) => {
          const link = of === 4 ? link4 : link6;
          const asked = all.map(({ byUs: _, ...entry }) => ({ ...entry, device: link }));
          const ours = all.flatMap(({ byUs }, i) => (byUs ? [asked[i] ?? never()] : []));
          const theirs = all.flatMap(({ byUs }, i) => (byUs ? [] : [asked[i] ?? never()]));
          const action = (mac: string): 'append' | 'replace' => (isGroup(mac) ? 'append' : 'replace');
          const operations = ours.map((entry) => ({ action: action(entry.mac), entry }));
          t.same(netlink.changeForwarding(operations), []);
          batch(
            'bridge',
            theirs.map(({ mac, dst, port: number, vni: id, via }) =>
              [
                `fdb ${action(mac)} ${mac} dev ${link.name} dst ${String(dst)}`,
                number === undefined ? '' : ` port ${number}`,
                id === undefined ? '' : ` vni ${id}`,
                via === undefined ? '' : ' via u0',
                ' self permanent',
              ].join(''),
            ),
          );
          const key = (mac: string, ...rest: readonly unknown[]): string =>
            [mac, ...rest.map(String)].join(' ');
          const shown = json<BridgeEntry>('bridge', `fdb show dev ${link.name}`)
            .map(({ mac, dst, port: number, vni: id, via, viaIf, state }) =>
              key(
                mac,
                dst,
                number,
                id,
                (via ?? viaIf) === undefined ? undefined : u0.index,
                state === 'permanent',
              ),
            )
            .sort();
          const entries = netlink.forwarding(link);
          const read = entries.map((e) => key(e.mac, e.dst, e.port, e.vni, e.via, e.permanent)).sort();
          t.same(read, shown);
          for (const entry of asked) {
            // The device's own port and VNI are not told.
            const number = entry.port === 8472 ? undefined : entry.port;
            const id = entry.vni === 3 ? undefined : entry.vni;
            t.ok(
              read.includes(key(entry.mac, entry.dst, number, id, entry.via, true)),
              `${entry.mac} is there`,
            );
          }
          const deletions = asked.map((entry) => ({ action: 'delete' as const, entry }));
          const [first, ...others] = deletions;
          t.same(netlink.changeForwarding(first === undefined ? [] : [first]), []);
          t.equal(netlink.forwarding(link).length, asked.length - 1, 'one destination alone goes');
          t.same(netlink.changeForwarding(others), []);
          t.same(netlink.forwarding(link), []);
          t.same(netlink.changeForwarding(deletions), [], 'twice as well');
        }),
        { numRuns: 20 },
      );
      for (const name of ['f4', 'f6', 'f9']) netlink.deleteLink(device(name));
    },
  );

  t.test('a nexthop object in a forwarding entry is no destination', { skip: noVxlan }, async (t) => {
    const link = makeVxlan('h0', 4, 5);
    ip('nexthop add id 5 via 10.0.0.5 fdb');
    ip('nexthop add id 6 group 5 fdb');
    tool('bridge', 'fdb add 0e:00:00:00:00:05 dev h0 nhid 6 self permanent'.split(' '));
    t.match(netlink.forwarding(link), [{ mac: '0e:00:00:00:00:05', dst: undefined, permanent: true }]);
    const entry = { device: link, mac: '0e:00:00:00:00:05' };
    t.same(netlink.changeForwarding([{ action: 'delete', entry }]), []);
    t.same(netlink.forwarding(link), []);
    batch('ip', ['nexthop del id 6', 'nexthop del id 5']);
    netlink.deleteLink(link);
  });

  t.test('a batch of entries names what was refused', { skip: noVxlan }, async (t) => {
    const link = makeVxlan('b0', 4, 6);
    const ghost = { index: 9999, name: 'ghost' };
    const good = Array.from({ length: 300 }, (_, i) => ({
      mac: `0e:00:00:00:0${i >> 8}:${(i & 255).toString(16).padStart(2, '0')}`,
      ip: `10.7.${i >> 8}.${i & 255}`,
    }));
    const neighbours = good.map((entry) => ({
      action: 'replace' as const,
      neighbour: { ...entry, device: link },
    }));
    const bad = {
      action: 'replace' as const,
      neighbour: { device: ghost, ip: '10.7.7.7', mac: '0e:00:00:00:00:01' },
    };
    const refused = netlink.changeNeighbours([...neighbours.slice(0, 100), bad, ...neighbours.slice(100)]);
    t.equal(refused.length, 1);
    t.match(
      refused[0]?.message,
      /cannot set the neighbour 10\.7\.7\.7 lladdr 0e:00:00:00:00:01 dev ghost: .*ENODEV/,
    );
    t.equal(errnoName(refused[0]?.cause), 'ENODEV');
    t.equal(netlink.neighbours(4, link).filter(({ permanent }) => permanent).length, 300);
    const entries = good.map(({ mac }) => ({
      action: 'replace' as const,
      entry: { device: link, mac, dst: '10.0.0.9' },
    }));
    const wrong = {
      action: 'replace' as const,
      entry: { device: link, mac: '0e:ff:00:00:00:00', dst: 'fd00::9' },
    };
    const errors = netlink.changeForwarding([...entries.slice(0, 200), wrong, ...entries.slice(200)]);
    t.equal(errors.length, 1);
    t.match(errors[0]?.message, /cannot set the forwarding entry 0e:ff:00:00:00:00 dev b0 dst fd00::9/);
    t.equal(netlink.forwarding(link).length, 300);
    netlink.deleteLink(link);
  });

  t.test('blackholes and tagged routes', async (t) => {
    ip('address add 192.168.9.1/24 dev u0');
    ip('address add fd09::1/64 dev u0 nodad');
    const cases = [
      { of: 4 as const, dst: '10.60.0.0/16', via: '192.168.9.2' },
      { of: 6 as const, dst: 'fd60::/32', via: 'fd09::2' },
    ];
    for (const { of, dst, via } of cases) {
      const unicast = { dst, via, device: u0, metric: 50 };
      const blackhole = { kind: 'blackhole' as const, dst, protocol: 77, metric: 9000 };
      netlink.replaceRoute(unicast);
      netlink.replaceRoute(blackhole);
      netlink.replaceRoute(blackhole);
      const shown = (): readonly string[] =>
        json<{ type?: string; metric: number; protocol?: string | number }>(
          'ip',
          `-${of} -d route show ${dst}`,
        )
          .map(({ type, metric, protocol }) => `${String(type)} ${metric} ${String(protocol)}`)
          .sort();
      t.same(shown(), ['blackhole 9000 77', 'unicast 50 boot']);
      t.match(netlink.routes(of, undefined, 77), [{ dst, type: 6, metric: 9000, protocol: 77 }]);
      t.match(netlink.routes(of, u0, 3), [{ dst, type: 1, via }]);
      t.same(netlink.routes(of, u0, 78), []);
      const [refused] = netlink.changeRoutes([{ action: 'add', route: blackhole }]);
      t.match(refused?.message, /cannot add the route blackhole .*EEXIST/);
      netlink.deleteRoute(blackhole);
      netlink.deleteRoute({ kind: 'blackhole', dst });
      t.same(shown(), ['unicast 50 boot'], 'deleting a blackhole leaves a unicast route');
      netlink.deleteRoute(unicast);
      t.same(shown(), []);
    }
  });

  t.test('events tell of neighbours and forwarding entries', { skip: noVxlan }, async (t) => {
    const link = makeVxlan('e0', 4, 8);
    const events = NetlinkEvents.open();
    t.teardown(() => {
      events.close();
    });
    const seen = (): readonly string[] =>
      events.take().flatMap((event) => {
        if (event.kind !== 'neighbour' || event.device !== link.index) return [];
        const { gone, forwarding, permanent } = event;
        return [`${forwarding ? 'fdb' : 'neigh'} ${gone ? 'gone' : 'new'}${permanent ? ' permanent' : ''}`];
      });
    ip('neigh add 10.5.2.0 lladdr 0e:00:00:00:00:01 dev e0 nud permanent');
    t.same(seen(), ['neigh new permanent']);
    ip('neigh replace 10.5.2.0 lladdr 0e:00:00:00:00:02 dev e0 nud stale');
    t.same(seen(), ['neigh new']);
    ip('neigh replace 10.5.2.0 lladdr 0e:00:00:00:00:02 dev e0 nud permanent');
    ip('neigh del 10.5.2.0 dev e0');
    t.same(seen().slice(0, 2), ['neigh new permanent', 'neigh new'], 'a deleted one fails first');
    tool('bridge', 'fdb add 0e:00:00:00:00:01 dev e0 dst 10.0.0.9 self permanent'.split(' '));
    tool('bridge', 'fdb del 0e:00:00:00:00:01 dev e0 dst 10.0.0.9 self'.split(' '));
    t.same(
      seen().filter((text) => text.startsWith('fdb')),
      ['fdb new permanent', 'fdb gone permanent'],
    );
    netlink.deleteLink(link);
  });
}

/** Multicast, or the address of all zeros: such may have several destinations. */
function isGroup(mac: string): boolean {
  return mac === '00:00:00:00:00:00' || (parseInt(mac.slice(0, 2), 16) & 1) === 1;
}

/** The messages that strace dumped: lines such as ` | 00000  34 00 00 00 ...  text |`. */
function sentBytes(text: string): readonly Buffer[] {
  const messages: number[][] = [];
  for (const line of text.split('\n')) {
    const match = /^ \| ([0-9a-f]{5}) {2}((?:[0-9a-f]{2} {1,2}){1,16})/.exec(line);
    if (match?.[2] === undefined) continue;
    if (match[1] === '00000') messages.push([]);
    messages.at(-1)?.push(
      ...match[2]
        .trim()
        .split(/ +/)
        .map((byte) => parseInt(byte, 16)),
    );
  }
  return messages.map((bytes) => Buffer.from(bytes)).filter((bytes) => bytes.length >= 32);
}

function never(): never {
  throw new Error('not there');
}
