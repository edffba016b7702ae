// The firewall of a cell of the matrix, word for word: flannel's rules as `nft list table` and `iptables -S` print them.

import type { Host } from '../../src/lab/host.ts';
import type { Cell, Masquerade } from './matrix.ts';

interface Words {
  readonly network: string;
  readonly subnet: string;
  readonly multicast: string;
}

const words: Readonly<Record<4 | 6, Words>> = {
  4: { network: '10.5.0.0/16', subnet: '10.5.1.0/24', multicast: '224.0.0.0/4' },
  6: { network: 'fd00:5::/48', subnet: 'fd00:5:0:1::/64', multicast: 'ff00::/8' },
};

function familiesOf({ families }: Cell): readonly (4 | 6)[] {
  return families === 'dual' ? [4, 6] : families === 'v4' ? [4] : [6];
}

/** What is there of it. */
export async function firewallText(host: Host, cell: Cell): Promise<string> {
  if (cell.masquerade === 'iptables') {
    const texts = await Promise.all(
      familiesOf(cell).flatMap((family) => {
        const tool = family === 4 ? 'iptables' : 'ip6tables';
        return ['nat', 'filter'].map((table) => host.exec([tool, '-t', table, '-S']));
      }),
    );
    return texts
      .flatMap(({ stdout }) => stdout.split('\n'))
      .filter((line) => /FLANNEL|flanneld/.test(line))
      .join('\n');
  }
  const tables = await Promise.all(
    familiesOf(cell).map((family) =>
      host.exec(['nft', 'list', 'table', family === 4 ? 'ip' : 'ip6', `flannel-ipv${family}`]),
    ),
  );
  return tables.map(({ stdout }) => stdout).join('');
}

export function wantedFirewall(cell: Cell): string {
  const families = familiesOf(cell);
  if (cell.masquerade === 'iptables') return families.flatMap((family) => iptables(words[family])).join('\n');
  return families.map((family) => nft(family, cell.masquerade)).join('');
}

function iptables({ network: c, subnet: p, multicast }: Words): readonly string[] {
  const masq = '-m comment --comment "flanneld masq"';
  const forward = '-m comment --comment "flanneld forward"';
  return [
    '-N FLANNEL-POSTRTG',
    `-A POSTROUTING ${masq} -j FLANNEL-POSTRTG`,
    `-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 ${masq} -j RETURN`,
    `-A FLANNEL-POSTRTG -s ${p} -d ${c} ${masq} -j RETURN`,
    `-A FLANNEL-POSTRTG -s ${c} -d ${p} ${masq} -j RETURN`,
    `-A FLANNEL-POSTRTG ! -s ${c} -d ${p} ${masq} -j RETURN`,
    `-A FLANNEL-POSTRTG -s ${c} ! -d ${multicast} ${masq} -j MASQUERADE --random-fully`,
    `-A FLANNEL-POSTRTG ! -s ${c} -d ${c} ${masq} -j MASQUERADE --random-fully`,
    '-N FLANNEL-FWD',
    `-A FORWARD ${forward} -j FLANNEL-FWD`,
    `-A FLANNEL-FWD -s ${c} ${forward} -j ACCEPT`,
    `-A FLANNEL-FWD -d ${c} ${forward} -j ACCEPT`,
  ];
}

function nft(family: 4 | 6, masquerade: Masquerade): string {
  const { network: c, subnet: p, multicast } = words[family];
  const ip = family === 4 ? 'ip' : 'ip6';
  const postrtg = [
    '\tchain postrtg {',
    '\t\tcomment "chain to manage traffic masquerading by flannel"',
    '\t\ttype nat hook postrouting priority srcnat; policy accept;',
    '\t\tmeta mark 0x00004000 return',
    `\t\t${ip} saddr ${p} ${ip} daddr ${c} return`,
    `\t\t${ip} saddr ${c} ${ip} daddr ${p} return`,
    `\t\t${ip} saddr != ${p} ${ip} daddr ${c} return`,
    `\t\t${ip} saddr ${c} ${ip} daddr != ${multicast} masquerade fully-random`,
    `\t\t${ip} saddr != ${c} ${ip} daddr ${c} masquerade fully-random`,
    '\t}',
    '',
  ];
  return [
    `table ${ip} flannel-ipv${family} {`,
    `\tcomment "rules for flannel-ipv${family}"`,
    ...(masquerade === 'off' ? [] : postrtg),
    '\tchain forward {',
    '\t\tcomment "chain to accept flannel traffic"',
    '\t\ttype filter hook forward priority filter; policy accept;',
    `\t\t${ip} saddr ${c} accept`,
    `\t\t${ip} daddr ${c} accept`,
    '\t}',
    '}',
    '',
  ].join('\n');
}
