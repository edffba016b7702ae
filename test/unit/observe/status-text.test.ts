import t from 'tap';

import { bytes, duration, statusText } from '../../../src/observe/status-text.ts';
import type { Status } from '../../../src/observe/status.ts';
import { exampleStatus } from './example.ts';

const options = {
  color: false,
  now: new Date('2026-01-02T03:45:00.000Z'),
  meanings: new Map([['rx_unknown_source', 'the outer source holds no lease']]),
};

t.test('a healthy node', async (t) => {
  t.equal(
    statusText(exampleStatus, options),
    `kersey 1.2.3 is ok, up 45 min (pid 42)

  mode         vxlan on the engine: because
  lease        10.5.1.0/24, known to peers as 192.168.78.1
  underlay     eth0 192.168.78.1, MTU 1500 (--iface eth0)
  firewall     lets forwarded traffic through (nft: it works)
  store        file:/x.json, readable for 45 min, 2 leases

flannel.1 running, 10.5.1.0/32, VNI 1, UDP port 8472, MTU 1450, VTEP 0e:00:00:00:00:01
  dropped      17 rx_unknown_source: the outer source holds no lease
  dropped      2 tx_no_peer
  feature off  udp-gro: switched off by --disable
  features on  udp-gso

  peer         underlay address  sent packets  bytes  received packets   bytes
  10.5.2.0/24  192.168.78.2                 3  252 B           1234567  1.2 GB

repaired: device 1, route 3

next: \`ping 10.5.2.0\` reaches the peer 192.168.78.2 through the overlay
`,
  );
});

t.test('what is wrong comes first, in one line each', async (t) => {
  const broken: Status = {
    ...exampleStatus,
    state: 'degraded',
    problems: [{ code: 'STORE_MALFORMED', message: '/x.json:3:1: cut\noff', remedy: 'restore a copy' }],
    warnings: ['odd \u001b[2J'],
  };
  const lines = statusText(broken, options).split('\n');
  t.match(lines[0], /is degraded/);
  t.equal(lines[2], '  STORE_MALFORMED: /x.json:3:1: cut\\noff; restore a copy');
  t.equal(lines[3], '  warning: odd \\u001b[2J', 'and cannot steer the terminal');
  t.match(lines.at(-2), /^next: do what the first line says/);
});

t.test('an engine that stands still says why', async (t) => {
  const [overlay] = exampleStatus.overlays;
  if (overlay === undefined) throw new Error('no overlay');
  const text = statusText(
    { ...exampleStatus, overlays: [{ ...overlay, state: 'failed', reason: 'it was deleted', peers: [] }] },
    options,
  );
  t.match(text, /flannel\.1 failed: it was deleted/);
  t.match(text, /no peers/);
});

t.test('many peers are cut short', async (t) => {
  const [overlay] = exampleStatus.overlays;
  const [peer] = overlay?.peers ?? [];
  if (overlay === undefined || peer === undefined) throw new Error('no peer');
  const peers = Array.from({ length: 60 }, (_, i) => ({ ...peer, prefix: `10.5.${i}.0/24` }));
  const text = statusText({ ...exampleStatus, overlays: [{ ...overlay, peers }] }, options);
  t.match(text, /and 10 more peers \(-o json shows all\)/);
});

t.test('colours do not move the columns', async (t) => {
  const plain = statusText(exampleStatus, options);
  const colored = statusText(exampleStatus, { ...options, color: true });
  t.not(colored, plain);
  t.equal(colored.replace(/\u001b\[\d+m/g, ''), plain);
});

t.test('sizes and times', async (t) => {
  t.same([0, 999, 1000, 1500, 999_949, 999_950, 1e9, 12.34e15].map(bytes), [
    '0 B',
    '999 B',
    '1.0 kB',
    '1.5 kB',
    '999.9 kB',
    '1.0 MB',
    '1.0 GB',
    '12.3 PB',
  ]);
  const ago = (seconds: number): string => duration(new Date(0).toISOString(), new Date(seconds * 1000));
  t.same([-5, 0, 119, 120, 7199, 7200, 172_799, 172_800].map(ago), [
    '0 s',
    '0 s',
    '119 s',
    '2 min',
    '119 min',
    '2 h',
    '47 h',
    '2 days',
  ]);
});
