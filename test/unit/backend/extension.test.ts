import t from 'tap';

import { ExtensionBackend, prepareExtension } from '../../../src/backend/extension/extension.ts';
import { commandWords, shellSyntax } from '../../../src/backend/extension/words.ts';
import type { Plan } from '../../../src/backend/plan.ts';
import type { ExtensionConfig } from '../../../src/config/backend.ts';
import type { JsonObject } from '../../../src/config/json.ts';
import { parseNetworkConfig } from '../../../src/config/network.ts';
import { parseCidr } from '../../../src/net/cidr.ts';
import type { Lease } from '../../../src/store/lease.ts';

const v4: JsonObject = { Network: '10.5.0.0/16' };
const dual: JsonObject = { ...v4, EnableIPv6: true, IPv6Network: 'fd00:5::/48' };
const v6: JsonObject = { ...dual, EnableIPv4: false };

function backend(network: JsonObject, commands: JsonObject = {}, output?: string): ExtensionBackend {
  const config = parseNetworkConfig({ ...network, Backend: { Type: 'extension', ...commands } });
  if (config.backend.type !== 'extension') throw new TypeError('another backend');
  const context = { config, options: {}, dataplane: 'kernel', underlay: {} } as const;
  return new ExtensionBackend(config.backend, context, output);
}

function lease(n: number, attrs: Partial<Lease['attrs']> = {}): Lease {
  return {
    subnet: parseCidr(`10.5.${n}.0/24`),
    subnet6: parseCidr(`fd00:5:0:${n}::/64`),
    attrs: {
      ...{ publicIP: `192.168.78.${n}`, publicIPv6: `fd78::${n}`, backendType: 'extension' },
      ...attrs,
    },
  };
}

function plan(of: ExtensionBackend, ...leases: readonly Lease[]): Plan {
  const host = { iface: 'eth0', ifaceMtu: 1500, address4: '192.168.78.1', address6: 'fd78::1', attached: [] };
  return of.plan({ own: lease(1), leases: [lease(1), ...leases], host });
}

t.test('variables are replaced as os.Expand of Go does', (t) => {
  // Its own cases, os/env_test.go.
  const environment = {
    ...{ '*': 'all the args', '#': 'NARGS', $: 'PID', '1': 'ARGUMENT1' },
    ...{ HOME: '/usr/gopher', H: '(Value of H)', home_1: '/usr/foo', _: 'underscore' },
  };
  for (const [word, expanded] of [
    ['$*', 'all the args'],
    ['$$', 'PID'],
    ['${*}', 'all the args'],
    ['$1', 'ARGUMENT1'],
    ['$12', 'ARGUMENT12'],
    ['${1}', 'ARGUMENT1'],
    ['$HOME', '/usr/gopher'],
    ['$home_1', '/usr/foo'],
    ['${HOME}', '/usr/gopher'],
    ['${H}OME', '(Value of H)OME'],
    ['A$$$#$1$H$home_1*B', 'APIDNARGSARGUMENT1(Value of H)/usr/foo*B'],
    ['start$+middle$^end$', 'start$+middle$^end$'],
    ['mixed$|bag$$$', 'mixed$|bagPID$'],
    ['$', '$'],
    ['$}', '$}'],
    ['x${', 'x'],
    ['x${}y', 'xy'],
    ['x$NOWHERE', 'x'],
    ['x$constructor', 'x'],
  ] as const) {
    t.equal(commandWords(word, environment).join('|'), expanded, word);
  }
  t.end();
});

t.test('words end at white space alone', (t) => {
  t.same(commandWords('  ip\troute add \n$SUBNET ', { SUBNET: '10.5.1.0/24' }), [
    ...['ip', 'route', 'add', '10.5.1.0/24'],
  ]);
  t.same(commandWords('echo "a b" \'c\'', {}), ['echo', '"a', 'b"', "'c'"], 'quotes are characters');
  t.same(
    commandWords('echo $A', { A: 'two words; rm -rf' }),
    ['echo', 'two words; rm -rf'],
    'a value stays one word',
  );
  t.same(commandWords(' \t', {}), []);
  t.end();
});

t.test("what needs a shell is told, because flannel's own samples do", (t) => {
  const samples = [
    // dist/extension-hostgw, extension-vxlan, extension-wireguard of flannel
    'read PUBLIC_IP; ip route add $SUBNET via $PUBLIC_IP',
    "export SUBNET_IP=`echo $SUBNET | cut -d'/' -f 1`; ip link add flannel-wg type wireguard",
    'wg genkey | tee privatekey | wg pubkey',
    'ip link add vxlan0 type vxlan id 1 2>/dev/null || true',
    'cat /tmp/x > /tmp/y',
    'VTEP=$(cat /sys/class/net/flannel-vxlan/address) && echo -n {\\"VtepMAC\\":\\"$VTEP\\"}',
  ];
  for (const sample of samples) {
    t.match(plan(backend(v4, { SubnetAddCommand: sample })).warnings, [
      /SubnetAddCommand has '.*put it into a script/,
    ]);
  }
  for (const plain of ['/etc/kersey/add.sh', 'ip route replace $SUBNET via ${PUBLIC_IP}', 'add -- --x=1']) {
    t.equal(shellSyntax(plain), undefined, plain);
  }
  t.end();
});

t.test('the output of PreStartupCommand is our BackendData', async (t) => {
  const commands: ExtensionConfig = { type: 'extension', preStartup: 'printf \\n\\x20out$NETWORK\\n' };
  process.env['NETWORK'] = 'leaks';
  t.teardown(() => {
    delete process.env['NETWORK'];
  });
  const config = parseNetworkConfig({ ...v4, Backend: { Type: 'extension' } });
  const make = await prepareExtension(commands, new AbortController().signal);
  const of = make({ config, options: {}, dataplane: 'kernel', underlay: {} });
  t.equal(of.leaseData(4), 'out', 'trimmed');
  t.ok(of.isComplete(4, 'out'));
  t.notOk(of.isComplete(4, 'other'));
  t.equal(backend(v4).leaseData(4), undefined, 'none without the command');
  t.equal(backend(v4, {}, '').leaseData(4), '', 'an empty one is one');
  t.same([backend(dual, {}, 'x').leaseData(4), backend(dual, {}, 'x').leaseData(6)], ['x', undefined]);
  t.equal(backend(v6, {}, 'x').leaseData(6), 'x');
  await t.rejects(
    prepareExtension({ type: 'extension', preStartup: 'false' }, new AbortController().signal),
    { code: 'COMMAND_FAILED', message: 'config.Backend.PreStartupCommand: it ended with code 1' },
  );
});

t.test('commands are told who we are and who the peer is', (t) => {
  const commands = { PostStartupCommand: 'start', SubnetAddCommand: 'add', SubnetRemoveCommand: 'remove' };
  const NETWORK = '10.5.0.0/16';
  t.same(plan(backend(dual, commands), lease(2, { backendData: 'hello' })).commands, {
    start: {
      command: 'start',
      variables: {
        ...{ NETWORK, SUBNET: '10.5.1.0/24', IPV6SUBNET: 'fd00:5:0:1::/64' },
        ...{ PUBLIC_IP: '192.168.78.1', PUBLIC_IPV6: 'fd78::1' },
      },
    },
    add: 'add',
    remove: 'remove',
    peers: [
      {
        ...{ name: '10.5.2.0/24 fd00:5:0:2::/64', outer: '192.168.78.2', input: 'hello\n' },
        variables: {
          ...{ NETWORK, SUBNET: '10.5.2.0/24', IPV6SUBNET: 'fd00:5:0:2::/64' },
          ...{ PUBLIC_IP: '192.168.78.2', PUBLIC_IPV6: 'fd78::2' },
        },
      },
    ],
  });
  const [only4] = plan(backend(v4, commands), lease(2)).commands?.peers ?? [];
  t.same(only4, {
    ...{ name: '10.5.2.0/24', outer: '192.168.78.2', input: '\n' },
    variables: { NETWORK, SUBNET: '10.5.2.0/24', PUBLIC_IP: '192.168.78.2' },
  });
  t.same(plan(backend(v4)).commands, { peers: [] });
  t.end();
});

t.test('a lease that cannot be used takes no other with it', (t) => {
  for (const [bad, reason] of [
    [lease(3, { backendType: 'vxlan' }), /its backend is "vxlan"/],
    [lease(3, { backendData: { VNI: 1 } }), /its BackendData is not a text/],
    [lease(3, { publicIP: '10.5.4.4' }), /would loop/],
  ] as const) {
    const planned = plan(backend(v4, { SubnetAddCommand: 'add' }), bad, lease(2));
    t.match(planned.warnings, [reason]);
    t.same(
      planned.commands?.peers.map(({ name }) => name),
      ['10.5.2.0/24'],
    );
  }
  t.end();
});
