// A driver of WireGuard devices by itself, without a daemon around it, driven by lines of JSON:
//
//   {"plan": {...}}    makes the host what the plan says, as a comparison of the daemon does
//   {"close": true}    closes the driver and ends
//
// Each is answered by one line: a Report.

import { createInterface } from 'node:readline';
import type { WireguardDevicePlan } from '../../src/backend/plan.ts';
import { KerseyError } from '../../src/errors.ts';
import { Netlink } from '../../src/netlink/client.ts';
import { WireguardDevice } from '../../src/node/devices/wireguard-device.ts';

type Request = { readonly plan: WireguardDevicePlan } | { readonly close: true };

export interface Report {
  readonly maker: string | null;
  readonly pid: number | null;
  readonly state: string;
  readonly problems: readonly string[];
  readonly repairs: readonly string[];
}

const repairs: string[] = [];
const netlink = Netlink.open();
const device = new WireguardDevice({
  netlink,
  onRepair: (kind, what, times = 1) => repairs.push(`${kind} x${times}: ${what}`),
});

function apply(plan: WireguardDevicePlan): readonly KerseyError[] {
  const link = device.ensure(plan);
  const problems = device.applyPeers(plan, link);
  if (!link.up) netlink.setLink(link, { mtu: plan.mtu, up: true });
  for (const address of plan.addresses) netlink.addAddress(link, address);
  for (const { dst } of plan.routes) netlink.replaceRoute({ dst, device: link });
  return problems;
}

function attempt(request: Request): readonly KerseyError[] {
  try {
    if ('plan' in request) return apply(request.plan);
    device.close();
    return [];
  } catch (error) {
    return [KerseyError.from(error)];
  }
}

for await (const line of createInterface(process.stdin)) {
  const problems = attempt(JSON.parse(line) as Request).map((problem) => problem.line);
  const report: Report = {
    maker: device.maker ?? null,
    pid: device.pid ?? null,
    state: device.state().kind,
    problems,
    repairs: repairs.splice(0),
  };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}
device.close();
netlink.close();
