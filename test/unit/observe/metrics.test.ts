import t from 'tap';

import { HealthServer } from '../../../src/observe/health.ts';
import { metricsText } from '../../../src/observe/metrics.ts';
import { exampleStatus } from './example.ts';

t.test('every line is a comment or a sample, and every sample belongs to the family above it', async (t) => {
  const text = metricsText({
    ...exampleStatus,
    state: 'degraded',
    problems: [
      { code: 'NETLINK', message: 'the route 10.5.2.0/24', remedy: '' },
      { code: 'NETLINK', message: 'another', remedy: '' },
    ],
    dataplane: { mode: 'engine', why: 'no "vxlan"\nhere \\', wish: 'auto' },
    routes: [{ dst: '10.5.9.0/24', via: '192.168.78.9', device: 'eth0' }],
  });
  let name = '';
  for (const line of text.trimEnd().split('\n')) {
    const head = /^# (?:HELP|TYPE) (kersey_[a-z_]+) /.exec(line);
    name = head?.[1] ?? name;
    if (head !== null) continue;
    t.match(
      line,
      new RegExp(`^${name}(?:\\{[a-z]+="(?:[^"\\\\]|\\\\.)*"(?:,[a-z]+="(?:[^"\\\\]|\\\\.)*")*\\})? \\d+$`),
    );
  }
  t.match(
    text,
    /^kersey_dataplane_info\{backend="vxlan",mode="engine",wish="auto",reason="no \\"vxlan\\"\\nhere \\\\"\} 1$/m,
  );
  t.match(text, /^kersey_drops_total\{device="flannel\.1",reason="rx_unknown_source"\} 17$/m);
  t.match(text, /^kersey_repairs_total\{kind="route"\} 3$/m);
  t.match(text, /^kersey_problem\{code="NETLINK"\} 2$/m);
  t.match(text, /^kersey_peers\{device="eth0"\} 1$/m);
  t.match(text, /^kersey_degraded 1$/m);
  t.notMatch(text, /192\.168|10\.5\.2|0e:00/, 'nobody reads addresses here');
});

t.test('served beside the health', async (t) => {
  const health = { state: 'ok', ready: true, problems: [] } as const;
  const server = await HealthServer.open(
    '127.0.0.1',
    0,
    () => health,
    () => metricsText(exampleStatus),
  );
  t.teardown(() => server.close());
  const response = await fetch(`http://127.0.0.1:${server.port}/metrics`);
  t.equal(response.status, 200);
  t.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  t.equal(await response.text(), metricsText(exampleStatus));
});
