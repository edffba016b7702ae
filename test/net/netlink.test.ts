// The rtnetlink client against the kernel, with iproute2 as the second opinion: what we set, `ip` shows; what `ip`
// sets, we read.

import { execFileSync } from 'node:child_process';
import { setTimeout } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';

import { errnoName, KerseyError } from '../../src/errors.ts';
import { formatCidr, cidrAround } from '../../src/net/cidr.ts';
import type { Cidr } from '../../src/net/cidr.ts';
import { addressBits, formatIp } from '../../src/net/ip.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import { Netlink } from '../../src/netlink/client.ts';
import { NetlinkEvents } from '../../src/netlink/events.ts';
import { RulesGeneration } from '../../src/netlink/generation.ts';
import type { Link } from '../../src/netlink/link.ts';
import { inOwnNetns } from '../lib/own-netns.ts';
import { skipUnlessInstalled } from '../lib/requirements.ts';

interface IpRoute {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly metric?: number;
  readonly protocol?: string;
  readonly flags: readonly string[];
}

function ip(...args: readonly string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller states what iproute2 documents
function ipJson<T>(...args: readonly string[]): readonly T[] {
  const text = ip('-j', ...args).trim();
  return text === '' ? [] : (JSON.parse(text) as T[]);
}

/** So many times the event loop has asked the kernel what there is. */
async function turns(n: number): Promise<void> {
  for (let i = 0; i < n; i++) await setTimeout(1);
}

function refused(call: () => void): KerseyError {
  try {
    call();
  } catch (error) {
    if (error instanceof KerseyError) return error;
    throw error;
  }
  throw new Error('the kernel consented');
}

if (inOwnNetns(import.meta.filename)) {
  const netlink = Netlink.open();
  t.teardown(() => {
    netlink.close();
  });
  ip('link', 'set', 'lo', 'up');
  ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1');
  ip('link', 'set', 'v0', 'up');
  ip('link', 'set', 'v1', 'up');
  ip('tuntap', 'add', 'dev', 'tun7', 'mode', 'tun');
  const device = (name: string): Link => {
    const link = netlink.link(name);
    if (link === undefined) throw new Error(`no ${name}`);
    return link;
  };
  const v0 = device('v0');
  const tun = device('tun7');

  t.test('links are what `ip -d link` shows', async (t) => {
    interface IpLink {
      readonly ifindex: number;
      readonly ifname: string;
      readonly mtu: number;
      readonly txqlen: number;
      readonly flags: readonly string[];
      readonly address?: string;
      readonly linkinfo?: { readonly info_kind: string };
      readonly gso_max_size: number;
    }
    const shown = ipJson<IpLink>('-d', 'link').map((link) => ({
      index: link.ifindex,
      name: link.ifname,
      mtu: link.mtu,
      txQueueLen: link.txqlen,
      up: link.flags.includes('UP'),
      kind: link.linkinfo?.info_kind,
      gsoMaxSize: link.gso_max_size,
      mac: link.address,
    }));
    const read = netlink.links().map(({ index, name, mtu, txQueueLen, up, kind, gsoMaxSize, mac }) => {
      return { index, name, mtu, txQueueLen, up, kind, gsoMaxSize, mac };
    });
    t.same(read, shown);
    t.equal(netlink.link('nowhere'), undefined);
  });

  t.test('changes of a link are seen by `ip`', async (t) => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          up: fc.boolean(),
          mtu: fc.integer({ min: 1280, max: 9000 }),
          txQueueLen: fc.integer({ min: 1, max: 10_000 }),
          gsoMaxSize: fc.integer({ min: 2048, max: 65_536 }),
        }),
        async (change) => {
          netlink.setLink(tun, change);
          const [shown] = ipJson<{ mtu: number; txqlen: number; gso_max_size: number; flags: string[] }>(
            '-d',
            'link',
            'show',
            'tun7',
          );
          t.same(shown && [shown.flags.includes('UP'), shown.mtu, shown.txqlen, shown.gso_max_size], [
            change.up,
            change.mtu,
            change.txQueueLen,
            change.gsoMaxSize,
          ]);
        },
      ),
      { numRuns: 15 },
    );
  });

  t.test(
    'addresses: what we add `ip` shows, what `ip` adds we read, and deleting is idempotent',
    async (t) => {
      const address = fc.oneof(
        fc.tuple(fc.constant<4 | 6>(4), fc.bigInt(0x0a000001n, 0x0afffffen), fc.integer({ min: 8, max: 32 })),
        fc.tuple(
          fc.constant<4 | 6>(6),
          fc.bigInt(0xfd00n << 112n, (0xfd01n << 112n) - 1n),
          fc.integer({ min: 8, max: 128 }),
        ),
      );
      await fc.assert(
        fc.asyncProperty(address, fc.boolean(), async ([family, value, length], byUs) => {
          const text = `${formatIp(family, value)}/${length}`;
          if (byUs) netlink.addAddress(v0, text);
          else ip('address', 'add', text, 'dev', 'v0');
          const shown = ipJson<{ addr_info: { family: string; local: string; prefixlen: number }[] }>(
            'address',
            'show',
            'dev',
            'v0',
          ).flatMap(({ addr_info }) => addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`));
          const read = netlink.addresses(v0).map(({ ip, prefixLength }) => `${ip}/${prefixLength}`);
          t.same([...read].sort(), shown.sort());
          t.ok(read.includes(text), text);
          netlink.deleteAddress(v0, text);
          netlink.deleteAddress(v0, text);
          t.notOk(netlink.addresses(v0).some(({ ip: left }) => left === formatIp(family, value)));
        }),
        { numRuns: 30 },
      );
    },
  );

  t.test("routes: what we set `ip` shows in flannel's words", async (t) => {
    netlink.setLink(tun, { up: true });
    netlink.addAddress(tun, '10.5.1.0/32');
    netlink.addAddress(tun, 'fd00:5:0:1::/128');
    const subnet = fc.oneof(
      fc
        .tuple(fc.bigInt(0x0a060000n, 0x0affffffn), fc.integer({ min: 16, max: 30 }))
        .map(([value, length]) => cidrAround(4, value, length)),
      fc
        .tuple(fc.bigInt(0xfd01n << 112n, (0xfd02n << 112n) - 1n), fc.integer({ min: 32, max: 126 }))
        .map(([value, length]) => cidrAround(6, value, length)),
    );
    await fc.assert(
      fc.asyncProperty(subnet, async (cidr: Cidr) => {
        const dst = formatCidr(cidr);
        const via = formatIp(cidr.family, cidr.base);
        const route = { dst, via, device: tun, onlink: true };
        netlink.replaceRoute(route);
        netlink.replaceRoute(route);
        const family = cidr.family === 4 ? '-4' : '-6';
        const text = ip(family, 'route', 'show', dst).trim().replace(/ +/g, ' ');
        t.ok(text.startsWith(`${dst} via ${via} dev tun7`), text);
        t.match(text, /onlink/);
        t.notMatch(text, /proto/, 'no protocol is shown, as with flannel');
        t.equal(text.split('\n').length, 1, 'setting it twice makes one route');
        const read = netlink.routes(cidr.family, tun).find((candidate) => candidate.dst === dst);
        t.match(read, { dst, via, onlink: true, device: tun.index });
        netlink.deleteRoute(route);
        netlink.deleteRoute(route);
        t.equal(ip(family, 'route', 'show', dst), '');
      }),
      { numRuns: 40 },
    );
  });

  t.test('routes that `ip` sets are read as it shows them', async (t) => {
    ip('address', 'add', '192.168.9.1/24', 'dev', 'v0');
    ip('address', 'add', 'fd09::1/64', 'dev', 'v0', 'nodad');
    const commands = [
      'route add default via 192.168.9.254',
      'route add 172.16.0.0/12 via 192.168.9.7 metric 77 proto static',
      'route add blackhole 10.99.0.0/16',
      'route add 10.98.0.0/16 nexthop via 192.168.9.2 nexthop via 192.168.9.3',
      '-6 route add default via fd09::fe metric 5',
      '-6 route add fd77::/32 dev v0',
    ];
    for (const command of commands) ip(...command.split(' '));
    const names = new Map(netlink.links().map(({ index, name }) => [index, name]));
    for (const family of [4, 6] as const) {
      const any = family === 4 ? '0.0.0.0/0' : '::/0';
      const host = addressBits(family);
      const shown = ipJson<IpRoute>(`-${family}`, 'route').map((route) => ({
        // `ip` leaves out the length of a host route.
        dst: route.dst === 'default' ? any : route.dst.includes('/') ? route.dst : `${route.dst}/${host}`,
        via: route.gateway,
        dev: route.dev,
        metric: route.metric ?? 0,
      }));
      const read = netlink.routes(family).map((route) => ({
        dst: route.dst,
        via: route.via,
        dev: route.device === undefined ? undefined : names.get(route.device),
        metric: route.metric,
      }));
      // The kernel hands out IPv6 multipath routes and blackholes with a device that `ip` hides or shows as it likes.
      const key = (route: { dst: string; metric: number }): string => `${route.dst} ${route.metric}`;
      t.same(read.map(key).sort(), shown.map(key).sort());
      for (const route of shown.filter(({ via }) => via !== undefined)) {
        t.ok(
          read.some((candidate) => JSON.stringify(candidate) === JSON.stringify(route)),
          JSON.stringify(route),
        );
      }
    }
    t.match(
      netlink.routes(4).find(({ dst }) => dst === '10.98.0.0/16'),
      { multipath: true },
    );
  });

  t.test('routeGet answers as `ip route get`', async (t) => {
    const shown = ipJson<{ dev: string; prefsrc: string; gateway?: string }>(
      'route',
      'get',
      '203.0.113.9',
    )[0];
    const read = netlink.routeGet('203.0.113.9');
    t.same([read?.device, read?.source, read?.via], [v0.index, shown?.prefsrc, shown?.gateway]);
    t.equal(netlink.routeGet('fd09::5')?.device, v0.index);
    t.equal(netlink.routeGet('10.99.1.1'), undefined, 'a blackhole leads nowhere');
  });

  t.test('a batch carries out what it can and names what was refused', async (t) => {
    const good = Array.from({ length: 300 }, (_, i) => ({
      action: 'replace' as const,
      route: {
        dst: `10.${20 + (i >> 8)}.${i & 255}.0/24`,
        via: `10.${20 + (i >> 8)}.${i & 255}.0`,
        device: tun,
        onlink: true,
      },
    }));
    const bad = {
      action: 'replace' as const,
      route: { dst: '10.7.7.0/24', via: '10.7.7.0', device: { index: 9999, name: 'ghost' }, onlink: true },
    };
    const errors = netlink.changeRoutes([...good.slice(0, 100), bad, ...good.slice(100)]);
    t.equal(errors.length, 1);
    t.match(errors[0]?.message, /10\.7\.7\.0\/24 via 10\.7\.7\.0 dev ghost onlink/);
    const ours = netlink.routes(4, tun).filter(({ dst }) => /^10\.2[01]\./.test(dst));
    t.equal(ours.length, 300);
    t.same(netlink.changeRoutes(good.map(({ route }) => ({ action: 'delete', route }))), []);
    t.same(netlink.changeRoutes(good.map(({ route }) => ({ action: 'delete', route }))), [], 'twice as well');
  });

  t.test('a refusal names the object, the words of the kernel and the errno', async (t) => {
    const ghost = { index: 9999, name: 'ghost' };
    const unreachable = refused(() => {
      netlink.replaceRoute({ dst: '10.66.0.0/16', via: '10.66.0.0', device: tun });
    });
    t.equal(unreachable.code, 'NETLINK');
    t.match(unreachable.message, /route 10\.66\.0\.0\/16 via 10\.66\.0\.0 dev tun7.*Nexthop.*ENETUNREACH/);
    t.equal(errnoName(unreachable.cause), 'ENETUNREACH');
    t.match(
      refused(() => {
        netlink.addAddress(ghost, '10.1.1.1/32');
      }).message,
      /10\.1\.1\.1\/32 to ghost.*ENODEV/,
    );
    t.match(
      refused(() => {
        netlink.setLink(tun, { mtu: 10 });
      }).message,
      /mtu 10 on tun7.*EINVAL/,
    );
  });

  t.test('deleting a link, twice', async (t) => {
    ip('link', 'add', 'gone0', 'type', 'veth');
    const gone = device('gone0');
    netlink.deleteLink(gone);
    netlink.deleteLink(gone);
    t.equal(netlink.link('gone0'), undefined);
  });

  t.test('events tell of what others do', async (t) => {
    const events = NetlinkEvents.open();
    t.teardown(() => {
      events.close();
    });
    t.same(events.take(), []);
    ip('link', 'add', 'ev0', 'type', 'veth');
    ip('link', 'set', 'ev0', 'up');
    ip('address', 'add', '10.44.0.1/24', 'dev', 'ev0');
    ip('route', 'add', '10.45.0.0/16', 'dev', 'ev0');
    ip('link', 'del', 'ev0');
    const seen = events.take();
    t.ok(seen.some((event) => event.kind === 'link' && !event.gone && event.link.name === 'ev0'));
    t.ok(seen.some((event) => event.kind === 'link' && event.gone && event.link.name === 'ev0'));
    t.ok(seen.some((event) => event.kind === 'address' && event.address.ip === '10.44.0.1'));
    t.ok(seen.some((event) => event.kind === 'route' && event.route.dst === '10.45.0.0/16'));
    t.same(events.take(), [], 'each is told once');
  });

  t.test('whoever waits for events is told once, and again after having taken them', async (t) => {
    let told = 0;
    const events = NetlinkEvents.open(() => told++);
    t.teardown(() => {
      events.close();
    });
    await turns(3);
    t.equal(told, 0, 'of nothing');
    netlink.addAddress(v0, '10.47.0.1/32');
    await awaitCondition('being told', () => told > 0);
    netlink.addAddress(v0, '10.47.0.2/32');
    await turns(3);
    t.equal(told, 1, 'not of what comes before the first is taken');
    const seen = events.take();
    t.equal(seen.filter(({ kind }) => kind === 'address').length, 2);
    netlink.addAddress(v0, '10.47.0.3/32');
    await awaitCondition('being told again', () => told === 2);
    events.close();
    t.same(events.take(), []);
  });

  t.test('whoever waits is told of lost events, too, and may close when told', async (t) => {
    const told: string[] = [];
    const events = NetlinkEvents.open(() => {
      const kinds = events.take(100_000).map(({ kind }) => kind);
      told.push(...new Set(kinds));
      if (kinds.includes('address')) events.close();
    });
    t.teardown(() => {
      events.close();
    });
    const operations = Array.from({ length: 4000 }, (_, i) => {
      return {
        action: 'replace',
        route: { dst: `10.${100 + (i >> 8)}.${i & 255}.0/24`, device: tun },
      } as const;
    });
    const undo = operations.map(({ route }) => ({ action: 'delete', route }) as const);
    for (let round = 0; round < 4; round++) {
      netlink.changeRoutes(operations);
      netlink.changeRoutes(undo);
    }
    t.same(told, [], 'not in the middle of something else');
    await awaitCondition('the loss', () => told.includes('lost'));
    netlink.addAddress(v0, '10.48.0.1/32');
    await awaitCondition('the address', () => told.includes('address'));
  });

  t.test('a change of rules is told once, and again after the generation was read', async (t) => {
    const nft = skipUnlessInstalled('nft');
    if (nft !== false) {
      t.pass('a change of rules', { skip: nft });
      return;
    }
    let told = 0;
    const rules = RulesGeneration.open(() => told++);
    t.teardown(() => {
      rules.close();
    });
    t.equal(rules.told, true);
    const before = rules.read();
    await turns(3);
    t.equal(told, 0);
    for (const round of [1, 2]) {
      execFileSync('nft', ['add', 'table', 'ip', `kersey${round}`]);
      await awaitCondition('being told', () => told === round);
      execFileSync('nft', ['add', 'chain', 'ip', `kersey${round}`, 'c']);
      await turns(3);
      t.equal(told, round);
      t.not(rules.read(), before);
    }
    const now = rules.read();
    execFileSync('nft', ['list', 'ruleset']);
    await turns(3);
    t.equal(told, 2, 'not of one who only reads');
    t.equal(rules.read(), now);
  });

  t.test('lost events are reported as lost, and then it goes on', async (t) => {
    const events = NetlinkEvents.open();
    t.teardown(() => {
      events.close();
    });
    const change = (n: number, action: 'replace' | 'delete'): void => {
      const operations = Array.from({ length: n }, (_, i) => ({
        action,
        route: { dst: `10.${100 + (i >> 8)}.${i & 255}.0/24`, device: tun },
      }));
      netlink.changeRoutes(operations);
    };
    for (let round = 0; round < 4; round++) {
      change(4000, 'replace');
      change(4000, 'delete');
    }
    t.ok(events.take(100_000).some(({ kind }) => kind === 'lost'));
    netlink.addAddress(v0, '10.46.0.1/32');
    t.ok(events.take().some((event) => event.kind === 'address' && event.address.ip === '10.46.0.1'));
  });
}
