// The firewall against the real nft and iptables of this machine, of both kinds, in a namespace of its own: exact texts,
// damage of every sort, foreign rules, switches between modes.

import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t, { type Test } from 'tap';

import type { Backend } from '../../src/firewall/backend.ts';
import { chooseBackend } from '../../src/firewall/choose.ts';
import type { FirewallWish } from '../../src/firewall/choose.ts';
import { Iptables } from '../../src/firewall/iptables.ts';
import { iptablesRuleTexts } from '../../src/firewall/iptables-text.ts';
import { FirewallKeeper } from '../../src/firewall/keeper.ts';
import type { KeeperOptions } from '../../src/firewall/keeper.ts';
import { Nftables } from '../../src/firewall/nftables.ts';
import { removeBut, removeFirewall } from '../../src/firewall/remove.ts';
import { desiredRules } from '../../src/firewall/rules.ts';
import type { FamilyRules, OverlayNetwork } from '../../src/firewall/rules.ts';
import { run } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import { cidrAround, parseCidr } from '../../src/net/cidr.ts';
import { RulesGeneration } from '../../src/netlink/generation.ts';
import { FakeClock } from '../lib/fake-clock.ts';
import { inOwnNetns } from '../lib/own-netns.ts';
import { skipUnlessInstalled } from '../lib/requirements.ts';

const v4: OverlayNetwork = { family: 4, network: parseCidr('10.5.0.0/16'), subnet: parseCidr('10.5.1.0/24') };
const v6: OverlayNetwork = {
  family: 6,
  network: parseCidr('fd00:5::/48'),
  subnet: parseCidr('fd00:5:0:1::/64'),
};
const both = [v4, v6];
const all = { masquerade: true, forward: true, fullyRandom: true };
const wish: FirewallWish = { mode: 'auto', first: { dialect: 'nft', why: 'first', asked: false }, ...all };

async function text(...argv: readonly string[]): Promise<string> {
  return (await run(argv)).stdout;
}

async function sh(script: string): Promise<void> {
  await run(['sh', '-ec', script]);
}

/** Everything there is, without what changes by itself. */
async function everything(): Promise<string> {
  const programs = [
    ['nft', 'list', 'ruleset'],
    ...['iptables-nft-save', 'ip6tables-nft-save', 'iptables-legacy-save', 'ip6tables-legacy-save'].map(
      (one) => [one],
    ),
  ];
  const parts: string[] = [];
  for (const argv of programs) parts.push((await run(argv, { anyExit: true })).stdout);
  return parts
    .join('\n')
    .replace(/^#.*\n/gm, '')
    .replace(/\[\d+:\d+\]/g, '')
    .replace(/packets \d+ bytes \d+/g, '');
}

async function fresh(t: Test): Promise<void> {
  const wipe = async (): Promise<void> => {
    await run(['nft', 'flush', 'ruleset']);
    for (const program of ['iptables-legacy', 'ip6tables-legacy']) {
      for (const table of ['nat', 'filter', 'mangle']) {
        for (const flag of ['-F', '-X']) await run([program, '-t', table, flag], { anyExit: true });
        await run([program, '-t', table, '-P', 'FORWARD', 'ACCEPT'], { anyExit: true });
      }
    }
  };
  await wipe();
  t.teardown(wipe);
}

interface Mode {
  readonly name: string;
  readonly skip: string | false;
  open(): Promise<Backend>;
  /** Our rules as the program prints them. */
  ours(): Promise<string>;
  /** Rules of others, around and beside ours, made before ours, and after. */
  readonly before: string;
  readonly after: string;
  /** Only what others made, in order. */
  foreign(): Promise<string>;
  readonly damage: Readonly<Record<string, string>>;
}

const nft: Mode = {
  name: 'nft',
  skip: skipUnlessInstalled('nft'),
  open: () => Promise.resolve(new Nftables()),
  ours: async () =>
    `${await text('nft', 'list', 'table', 'ip', 'flannel-ipv4')}${await text('nft', 'list', 'table', 'ip6', 'flannel-ipv6')}`,
  before: `nft -f - <<'END'
table ip theirs {
  chain post { type nat hook postrouting priority srcnat; policy accept; ip saddr 172.17.0.0/16 masquerade
  }
}
END`,
  after: 'nft add table inet later',
  foreign: async () =>
    `${await text('nft', 'list', 'table', 'ip', 'theirs')}${await text('nft', 'list', 'table', 'inet', 'later')}`,
  damage: {
    'a table deleted': 'nft delete table ip flannel-ipv4',
    'a chain flushed': 'nft flush chain ip6 flannel-ipv6 postrtg',
    'a chain deleted': 'nft delete chain ip flannel-ipv4 forward',
    'a rule deleted':
      "nft delete rule ip flannel-ipv4 postrtg handle $(nft -a list chain ip flannel-ipv4 postrtg | sed -n 's/.*0x00004000 return # handle //p')",
    'a rule added': 'nft add rule ip flannel-ipv4 forward tcp dport 22 drop',
    'a rule doubled': 'nft add rule ip flannel-ipv4 forward ip daddr 10.5.0.0/16 accept',
    'rules in another order':
      'nft flush chain ip flannel-ipv4 forward; nft add rule ip flannel-ipv4 forward ip daddr 10.5.0.0/16 accept; nft add rule ip flannel-ipv4 forward ip saddr 10.5.0.0/16 accept',
    'another network':
      'nft flush chain ip flannel-ipv4 forward; nft add rule ip flannel-ipv4 forward ip saddr 10.6.0.0/16 accept; nft add rule ip flannel-ipv4 forward ip daddr 10.5.0.0/16 accept',
    'a policy that drops': "nft 'chain ip flannel-ipv4 forward { policy drop; }'",
    'a chain added': 'nft add chain ip flannel-ipv4 extra',
    'all of it flushed': 'nft flush table ip flannel-ipv4',
  },
};

function iptables(kind: 'nft' | 'legacy'): Mode {
  const [four, six] = [`iptables-${kind}`, `ip6tables-${kind}`];
  return {
    name: four,
    skip: skipUnlessInstalled(four, six),
    open: () => Iptables.find(`iptables-${kind}`),
    ours: async () => {
      const lists: string[] = [];
      for (const program of [four, six]) {
        for (const table of ['nat', 'filter']) {
          const rules = (await text(program, '-t', table, '-S')).split('\n');
          lists.push(...rules.filter((rule) => rule.includes('FLANNEL') && rule.startsWith('-A')));
        }
      }
      return lists.join('\n');
    },
    before: [
      `${four} -t nat -A POSTROUTING -s 172.17.0.0/16 -m comment --comment 'say "hi"' -j MASQUERADE`,
      `${four} -N DOCKER-USER; ${four} -A FORWARD -j DOCKER-USER; ${four} -A DOCKER-USER -j RETURN`,
      `${four} -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu`,
    ].join('; '),
    after: `${four} -t nat -A POSTROUTING -s 172.18.0.0/16 -j MASQUERADE; ${six} -A FORWARD -s fd99::/64 -j DROP`,
    foreign: async () => {
      const saves = `${await text(`${four}-save`)}${await text(`${six}-save`)}`;
      return saves
        .replace(/\[\d+:\d+\]/g, '')
        .split('\n')
        .filter((line) => /^[-:]/.test(line) && !line.includes('FLANNEL'))
        .join('\n');
    },
    damage: {
      'a chain flushed': `${four} -t nat -F FLANNEL-POSTRTG`,
      'both chains of a family flushed': `${six} -t nat -F FLANNEL-POSTRTG; ${six} -F FLANNEL-FWD`,
      'a rule deleted': `${four} -t nat -D FLANNEL-POSTRTG 3`,
      'a rule added': `${four} -I FLANNEL-FWD -p tcp --dport 22 -j DROP`,
      'a rule doubled': `${four} -A FLANNEL-FWD -d 10.5.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT`,
      'rules in another order': `${four} -D FLANNEL-FWD 1; ${four} -A FLANNEL-FWD -s 10.5.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT`,
      'the jump deleted': `${four} -t nat -D POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG`,
      'the jump doubled': `${four} -I FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD`,
      'the jump changed': `${six} -D FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD; ${six} -A FORWARD -p tcp -j FLANNEL-FWD`,
      'jump and chain deleted': `${four} -D FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD; ${four} -F FLANNEL-FWD; ${four} -X FLANNEL-FWD`,
    },
  };
}

const modes = [nft, iptables('nft'), iptables('legacy')];

function rulesOf(backend: Backend, networks: readonly OverlayNetwork[] = both): readonly FamilyRules[] {
  return desiredRules(networks, all, backend.dialect);
}

function tests(): void {
  for (const mode of modes) {
    t.test(
      `${mode.name}: damage is found and mended, and others are left alone`,
      { skip: mode.skip },
      async (t) => {
        await fresh(t);
        const backend = await mode.open();
        const rules = rulesOf(backend);
        await sh(mode.before);
        t.ok((await backend.ensure(rules)).length > 0, 'at first nothing is there');
        await sh(mode.after);
        const [ours, foreign] = [await mode.ours(), await mode.foreign()];
        const before = await everything();
        t.same(await backend.ensure(rules), [], 'all is in order');
        for (const [name, script] of Object.entries(mode.damage)) {
          await sh(script);
          const differences = await backend.ensure(rules);
          t.ok(differences.length > 0, `${name}: ${differences.join(', ')}`);
          t.same(await backend.ensure(rules), [], `${name}: mended`);
          t.equal(await mode.ours(), ours, `${name}: as before`);
          t.equal(await mode.foreign(), foreign, `${name}: others are left alone`);
        }
        // Where the jump stands among others may have changed; nothing else.
        t.same((await everything()).split('\n').sort(), before.split('\n').sort(), 'nothing was left behind');
      },
    );

    t.test(`${mode.name}: applied fifty times it is as applied once`, { skip: mode.skip }, async (t) => {
      await fresh(t);
      const backend = await mode.open();
      const rules = rulesOf(backend);
      await backend.ensure(rules);
      const once = await everything();
      const [damage = ''] = Object.values(mode.damage);
      for (let i = 0; i < 50; i++) {
        await sh(damage);
        t.equal((await backend.ensure(rules)).length, 1);
      }
      t.equal(await everything(), once);
    });

    t.test(`${mode.name}: other networks and wishes replace the rules`, { skip: mode.skip }, async (t) => {
      await fresh(t);
      const backend = await mode.open();
      await backend.ensure(rulesOf(backend));
      const other: OverlayNetwork = {
        ...v4,
        network: parseCidr('10.6.0.0/16'),
        subnet: parseCidr('10.6.3.0/24'),
      };
      await backend.ensure(rulesOf(backend, [other]));
      const now = await mode.ours();
      t.match(now, /10\.6\.3\.0\/24/);
      t.notMatch(now, /10\.5\./);
      await backend.ensure(desiredRules(both, { ...all, masquerade: false }, backend.dialect));
      t.notMatch(await everything(), /masquerade|MASQUERADE|postrtg|POSTRTG/);
      await backend.ensure(
        desiredRules(both, { ...all, masquerade: false, forward: false }, backend.dialect),
      );
      t.notMatch(await everything(), /flannel|FLANNEL/);
    });

    t.test(
      `${mode.name}: whatever the network, what was made is read back the same`,
      { skip: mode.skip },
      async (t) => {
        await fresh(t);
        const backend = await mode.open();
        const network = fc.record({
          bits: fc.bigInt(0n, (1n << 128n) - 1n),
          length: fc.integer({ min: 1, max: 30 }),
          more: fc.integer({ min: 0, max: 2 }),
          six: fc.boolean(),
          fullyRandom: fc.boolean(),
        });
        await fc.assert(
          fc.asyncProperty(network, async ({ bits, length, more, six, fullyRandom }) => {
            const family = six ? 6 : 4;
            const address = six ? bits : bits & 0xffff_ffffn;
            const one: OverlayNetwork = {
              family,
              network: cidrAround(family, address, length),
              subnet: cidrAround(family, address, length + more),
            };
            const rules = desiredRules([one], { ...all, fullyRandom }, backend.dialect);
            await backend.ensure(rules);
            t.same(await backend.ensure(rules), []);
          }),
          { numRuns: 25 },
        );
      },
    );
  }

  for (const kind of ['nft', 'legacy'] as const) {
    const mode = iptables(kind);
    t.test(`${mode.name}: the exact texts of flannel, by iptables -S`, { skip: mode.skip }, async (t) => {
      await fresh(t);
      const backend = await mode.open();
      const rules = rulesOf(backend);
      await backend.ensure(rules);
      for (const [i, program] of [`iptables-${kind}`, `ip6tables-${kind}`].entries()) {
        const expected = iptablesRuleTexts(rules[i] ?? { family: 4, masquerade: [], forward: [] });
        const listed = (table: string): Promise<string> => text(program, '-t', table, '-S');
        t.equal(
          await listed('nat'),
          [
            ...['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'].map((chain) => `-P ${chain} ACCEPT`),
            ...['-N FLANNEL-POSTRTG', ...expected.slice(0, 7), ''],
          ].join('\n'),
        );
        t.equal(
          await listed('filter'),
          [
            ...['INPUT', 'FORWARD', 'OUTPUT'].map((chain) => `-P ${chain} ACCEPT`),
            ...['-N FLANNEL-FWD', ...expected.slice(7), ''],
          ].join('\n'),
        );
      }
    });
  }

  t.test('nft: the exact tables of flannel, by nft list', { skip: nft.skip }, async (t) => {
    await fresh(t);
    const backend = new Nftables();
    await backend.ensure(rulesOf(backend));
    const table = (
      ip: string,
      name: string,
      C: string,
      P: string,
      multicast: string,
    ): string => `table ${ip} ${name} {
	comment "rules for ${name}"
	chain postrtg {
		comment "chain to manage traffic masquerading by flannel"
		type nat hook postrouting priority srcnat; policy accept;
		meta mark 0x00004000 return
		${ip} saddr ${P} ${ip} daddr ${C} return
		${ip} saddr ${C} ${ip} daddr ${P} return
		${ip} saddr != ${P} ${ip} daddr ${C} return
		${ip} saddr ${C} ${ip} daddr != ${multicast} masquerade fully-random
		${ip} saddr != ${C} ${ip} daddr ${C} masquerade fully-random
	}

	chain forward {
		comment "chain to accept flannel traffic"
		type filter hook forward priority filter; policy accept;
		${ip} saddr ${C} accept
		${ip} daddr ${C} accept
	}
}
`;
    t.equal(
      await nft.ours(),
      table('ip', 'flannel-ipv4', '10.5.0.0/16', '10.5.1.0/24', '224.0.0.0/4') +
        table('ip6', 'flannel-ipv6', 'fd00:5::/48', 'fd00:5:0:1::/64', 'ff00::/8'),
    );
  });

  const everyKind = modes.map(({ skip }) => skip).find((reason) => reason !== false) ?? false;

  t.test('a switch of modes leaves nothing of the other ones', { skip: everyKind }, async (t) => {
    await fresh(t);
    const untouched = await everything();
    for (const from of modes) {
      for (const to of modes) {
        if (from === to) continue;
        const [old, now] = [await from.open(), await to.open()];
        await old.ensure(rulesOf(old));
        await now.ensure(rulesOf(now, [v4]));
        const { removed, problems } = await removeBut(now, [4]);
        t.same(problems, []);
        t.ok(removed.length > 0, `${from.name} to ${to.name}: removed ${removed.join(', ')}`);
        t.same(await now.ensure(rulesOf(now, [v4])), [], 'what is wanted is there');
        const left = await everything();
        t.equal(
          left.match(/10\.5\.1\.0/g)?.length,
          to === nft ? 3 : 3 * (to.name === 'iptables-nft' ? 2 : 1),
        );
        t.notMatch(left, /fd00:5/, 'nothing of the other family');
      }
    }
    for (const mode of modes) {
      const backend = await mode.open();
      await backend.ensure(rulesOf(backend));
    }
    const { removed, problems } = await removeFirewall();
    t.same(problems, []);
    t.equal(removed.length, 6, removed.join(', '));
    t.notMatch(await everything(), /flannel|FLANNEL|10\.5\./);
    t.same((await removeFirewall()).removed, [], 'a second time there is nothing');
    // The built-in chains that iptables makes stay, empty.
    t.equal(untouched.includes('FLANNEL'), false);
  });

  t.test('leftovers that flannel leaves are found as well', { skip: everyKind }, async (t) => {
    await fresh(t);
    await sh(`iptables-legacy -t nat -N FLANNEL-POSTRTG; iptables-legacy -t nat -A POSTROUTING -j FLANNEL-POSTRTG
      iptables-nft -N FLANNEL-FWD; iptables-nft -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD
      iptables-nft -A INPUT -j ACCEPT
      nft add table ip6 flannel-ipv6`);
    t.equal((await removeFirewall()).removed.length, 3);
    t.notMatch(await everything(), /flannel|FLANNEL/);
    t.match(await text('iptables-nft', '-S', 'INPUT'), /-A INPUT -j ACCEPT/);
  });

  choosing(everyKind);
  keeping();
}

/** A directory before all others in PATH, with programs that do as told. */
function shadow(t: Test, programs: Readonly<Record<string, string>>): void {
  const directory = mkdtempSync(path.join(tmpdir(), 'kersey-firewall-'));
  const before = process.env['PATH'];
  for (const [name, script] of Object.entries(programs)) {
    writeFileSync(path.join(directory, name), `#!/bin/sh\n${script}\n`);
    chmodSync(path.join(directory, name), 0o755);
  }
  process.env['PATH'] = `${directory}:${before ?? ''}`;
  t.teardown(() => {
    process.env['PATH'] = before;
    rmSync(directory, { recursive: true });
  });
}

const broken = 'echo "Error: Could not process rule: Operation not supported" >&2; exit 1';

function choosing(skip: string | false): void {
  const choose = async (more: Partial<FirewallWish> = {}): Promise<string> => {
    const choice = await chooseBackend({ ...wish, ...more }, both);
    return choice.kind === 'none' ? choice.error.line : `${choice.backend.dialect}: ${choice.why}`;
  };

  t.test('what makes the rules, and why', { skip }, async (t) => {
    await fresh(t);
    t.equal(await choose(), 'nft: first');
    t.equal(await choose({ mode: 'iptables' }), 'iptables: --firewall iptables');
    await removeFirewall();
    await sh('iptables -P FORWARD DROP');
    t.match(await choose(), /^iptables: the FORWARD policy of iptables is DROP/);
    t.equal(await choose({ forward: false }), 'nft: first', 'which matters to nobody who forwards nothing');
    t.equal(await choose({ first: { dialect: 'nft', why: 'asked', asked: true } }), 'nft: asked');
  });

  t.test('a program that does not work is passed over', { skip }, async (t) => {
    await fresh(t);
    shadow(t, { nft: broken });
    t.match(
      await choose(),
      /^iptables: nft does not work here \(nft: Error: .*Operation not supported\); iptables works$/,
    );
    t.match(
      await choose({ mode: 'nft' }),
      /^FIREWALL: nothing here makes .*Operation not supported; leave --firewall/,
    );
    shadow(t, { nft: broken, iptables: broken });
    t.match(
      await choose(),
      /^FIREWALL: nothing here makes firewall rules: nft: .*; iptables: .*; install nftables/,
    );
  });

  t.test('one that forgets what it was told is passed over, and no traces stay', { skip }, async (t) => {
    await fresh(t);
    shadow(t, { 'iptables-restore': 'cat >/dev/null' });
    t.match(
      await choose({ first: { dialect: 'iptables', why: 'x', asked: true } }),
      /^nft: iptables does not work here \(iptables \(\w+\) does not show the rules that it was given/,
    );
    t.notMatch(await everything(), /FLANNEL/);
  });

  t.test('where there is no random-fully it does without', { skip }, async (t) => {
    await fresh(t);
    shadow(t, {
      'iptables-restore':
        'cat > "$0.in"; grep -q random-fully "$0.in" && { echo unknown option >&2; exit 2; }; exec /usr/sbin/iptables-restore "$@" < "$0.in"',
    });
    const backend = await Iptables.find('iptables');
    await backend.ensure(rulesOf(backend, [v4]));
    t.same(await backend.ensure(rulesOf(backend, [v4])), []);
    t.match(await text('iptables', '-t', 'nat', '-S'), /-j MASQUERADE$/m);
    await fresh(t);
    shadow(t, {
      nft: 'case "$*" in "-f -") cat > "$0.in"; grep -Eq "fully-random|comment" "$0.in" && { echo syntax error >&2; exit 1; }; exec /usr/sbin/nft -f "$0.in";; *) exec /usr/sbin/nft "$@";; esac',
    });
    const nft = new Nftables();
    await nft.ensure(rulesOf(nft, [v4]));
    t.same(await nft.ensure(rulesOf(nft, [v4])), []);
    t.match(await text('nft', 'list', 'table', 'ip', 'flannel-ipv4'), /masquerade$/m);
  });
}

type Untold = Omit<KeeperOptions, 'generation' | 'told'>;

/** A keeper that the kernel tells of changes. */
async function keep(t: Test, options: Untold): Promise<FirewallKeeper> {
  const kept: { keeper?: FirewallKeeper } = {};
  const generation = RulesGeneration.open(() => kept.keeper?.rulesChanged());
  t.teardown(() => {
    generation.close();
  });
  const rules = { generation: () => generation.read(), told: generation.told };
  kept.keeper = await FirewallKeeper.begin({ ...options, ...rules }, new AbortController().signal);
  const { keeper } = kept;
  t.teardown(() => keeper.close());
  return keeper;
}

function keeping(): void {
  t.test('a quiet firewall costs no program, and damage is mended at once', { skip: nft.skip }, async (t) => {
    await fresh(t);
    const directory = mkdtempSync(path.join(tmpdir(), 'kersey-firewall-'));
    const calls = path.join(directory, 'calls');
    writeFileSync(calls, '');
    t.teardown(() => {
      rmSync(directory, { recursive: true });
    });
    shadow(t, { nft: `echo "$*" >> ${calls}; exec /usr/sbin/nft "$@"` });
    const repairs: string[] = [];
    const clock = new FakeClock();
    const options: Untold = {
      wish,
      networks: both,
      resync: 5000,
      onRepair: (what) => repairs.push(what),
      onNotice: (what) => {
        t.comment(what);
      },
      onChange: () => undefined,
      clock,
    };
    const keeper = await keep(t, options);
    t.match(keeper.state, { mode: 'nft', masquerade: true, forward: true });
    t.same([keeper.problems, keeper.warnings, repairs], [[], [], []]);
    const looks = (): number => readFileSync(calls, 'utf8').split('\n').length;

    const hour = 3_600_000;
    const settle = async (): Promise<void> => {
      for (let before = -1; before !== looks();) {
        before = looks();
        clock.advance(hour);
        await keeper.settled();
      }
    };
    await settle();
    const quiet = looks();
    t.equal(clock.waiting, 0, 'no timer runs');
    clock.advance(1000 * hour);
    await keeper.settled();
    t.equal(looks(), quiet, 'nothing is run when nothing has changed');

    await sh('/usr/sbin/nft delete table ip flannel-ipv4');
    await awaitCondition('being told', () => clock.waiting === 1);
    clock.advance(0);
    await keeper.settled();
    t.equal(keeper.repairs, 1);
    t.match(repairs, [/^nft table flannel-ipv4: it was gone; put back$/]);
    t.match(await nft.ours(), /flannel-ipv4/);
    await settle();

    await sh(
      "/usr/sbin/nft 'table ip other { chain c { type filter hook forward priority 0; policy drop; }; }'",
    );
    await awaitCondition('being told', () => clock.waiting === 1);
    await settle();
    t.match(keeper.warnings, [/ip other c drops what it forwards/]);
    t.equal(keeper.repairs, 1);
  });

  t.test('where the kernel does not tell, it is asked every resync', { skip: nft.skip }, async (t) => {
    await fresh(t);
    const generation = RulesGeneration.open();
    t.teardown(() => {
      generation.close();
    });
    const clock = new FakeClock();
    const asked: number[] = [];
    const options: KeeperOptions = {
      wish,
      networks: [v4],
      resync: 5000,
      generation: () => {
        asked.push(clock.now());
        return generation.read();
      },
      told: generation.told,
      onRepair: () => undefined,
      onNotice: () => undefined,
      onChange: () => undefined,
      clock,
    };
    const keeper = await FirewallKeeper.begin(options, new AbortController().signal);
    t.teardown(() => keeper.close());
    // What was changed at the start leads to one look.
    clock.advance(1000);
    await keeper.settled();
    asked.length = 0;
    clock.advance(10_000);
    t.same(asked, [6000, 11_000]);
    await sh('nft delete table ip flannel-ipv4');
    clock.advance(4999);
    t.equal(asked.length, 2);
    clock.advance(1);
    await keeper.settled();
    t.equal(keeper.repairs, 1);
  });

  t.test(
    'iptables takes over when its FORWARD begins to drop',
    { skip: modes[1]?.skip ?? false },
    async (t) => {
      await fresh(t);
      const plain = await Iptables.find('iptables');
      if (!plain.inNfTables) {
        t.comment('iptables is the legacy kind here, whose policy nft does not show');
        return;
      }
      const notices: string[] = [];
      const clock = new FakeClock();
      const options: Untold = {
        wish,
        networks: [v4],
        resync: 5000,
        onRepair: (what) => notices.push(what),
        onNotice: (what) => notices.push(what),
        onChange: () => undefined,
        clock,
      };
      const keeper = await keep(t, options);
      t.equal(keeper.state.mode, 'nft');
      await sh('iptables -P FORWARD DROP');
      await awaitCondition('the switch', () => {
        clock.advance(3_600_000);
        return notices.length > 0;
      });
      t.match(keeper.state, { mode: 'iptables', why: /FORWARD policy/ });
      t.match(notices, [/removed nft table flannel-ipv4/]);
      t.match(await text('iptables', '-S', 'FORWARD'), /-j FLANNEL-FWD/);
    },
  );
}

if (inOwnNetns(fileURLToPath(import.meta.url))) tests();
