// The plans of the backends whose leases hold nothing but addresses.

import t from 'tap';

import type { BackendContext, HostFacts } from '../../../src/backend/backend.ts';
import { prepareBackend } from '../../../src/backend/open.ts';
import type { Plan } from '../../../src/backend/plan.ts';
import type { JsonObject } from '../../../src/config/json.ts';
import { parseNetworkConfig } from '../../../src/config/network.ts';
import { parseCidr } from '../../../src/net/cidr.ts';
import type { Lease } from '../../../src/store/lease.ts';

const host: HostFacts = {
  iface: 'eth0',
  ifaceMtu: 1500,
  address4: '192.168.78.1',
  attached: [],
  onLink: new Set(['192.168.78.2']),
};
const ourselves = { ipv4: { address: '192.168.78.1', publicAddress: '192.168.78.1' } };

function lease(n: number, backendType?: string): Lease {
  return {
    subnet: parseCidr(`10.5.${n}.0/24`),
    subnet6: undefined,
    attrs: {
      publicIP: `192.168.78.${n}`,
      publicIPv6: null,
      ...(backendType !== undefined && { backendType }),
    },
  };
}

async function planOf(
  backend: JsonObject,
  leases: readonly Lease[],
  underlay: BackendContext['underlay'] = ourselves,
): Promise<Plan> {
  const config = parseNetworkConfig({ Network: '10.5.0.0/16', Backend: backend });
  const make = await prepareBackend(config, new AbortController().signal);
  const made = make({ config, options: { workers: 2 }, dataplane: 'engine', underlay });
  t.equal(made.leaseData(4, undefined), undefined, 'nothing but addresses in the lease');
  return made.plan({ own: lease(1, made.leaseType), leases, host });
}

t.test('udp: one route for the network, and peers that name no backend, as flannel has them', async (t) => {
  const plan = await planOf({ Type: 'udp' }, [lease(2), lease(3, 'vxlan'), lease(1)]);
  t.match(plan.devices, [
    {
      kind: 'engine',
      name: 'flannel0',
      mtu: 1472,
      addresses: ['10.5.1.0/32'],
      routes: [{ dst: '10.5.0.0/16', scope: 'global' }],
      engine: { wire: 'udp', port: 8285, local: '192.168.78.1', workers: 2 },
      peers: [{ prefix: '10.5.2.0/24', outer: '192.168.78.2' }],
      local: ['10.5.1.0/24'],
    },
  ]);
  t.match(plan.warnings, [/10\.5\.3\.0\/24 .* is ignored: its backend is "vxlan"/]);
});

t.test('host-gw: a route to every peer on our link, a word about the others', async (t) => {
  const plan = await planOf({ Type: 'host-gw' }, [lease(2, 'host-gw'), lease(3, 'host-gw')]);
  t.same(plan.devices, []);
  t.equal(plan.mtu, 1500);
  t.same(plan.routes, [
    { family: 4, dst: '10.5.2.0/24', via: '192.168.78.2', device: 'eth0', onlink: false },
  ]);
  t.equal(plan.peers.length, 2);
  t.match(plan.warnings, [/10\.5\.3\.0\/24 .* cannot be reached: .* 192\.168\.78\.3 is not on that of eth0/]);
  await t.rejects(
    planOf({ Type: 'host-gw' }, [], {
      ipv4: { address: '192.168.78.1', publicAddress: '203.0.113.7' },
    }),
    { code: 'BACKEND_UNSUPPORTED', message: /203\.0\.113\.7 is not our own 192\.168\.78\.1/ },
  );
});

t.test('ipip: the peer is the gateway, over the device or, with DirectRouting, over our link', async (t) => {
  const leases = [lease(2, 'ipip'), lease(3, 'ipip')];
  const plan = await planOf({ Type: 'ipip' }, leases);
  t.match(plan.devices, [
    {
      kind: 'ipip',
      name: 'flannel.ipip',
      mtu: 1480,
      local: '192.168.78.1',
      routes: [
        { dst: '10.5.2.0/24', via: '192.168.78.2' },
        { dst: '10.5.3.0/24', via: '192.168.78.3' },
      ],
    },
  ]);
  const direct = await planOf({ Type: 'ipip', DirectRouting: true }, leases);
  t.match(direct.devices, [{ routes: [{ dst: '10.5.3.0/24' }] }]);
  t.match(direct.routes, [{ dst: '10.5.2.0/24', via: '192.168.78.2', device: 'eth0', onlink: true }]);
});

t.test('alloc: a subnet, and nothing else', async (t) => {
  t.same(await planOf({ Type: 'alloc' }, [lease(2)]), {
    ...{ devices: [], routes: [], peers: [], warnings: [] },
    mtu: 1500,
  });
});
