// Makes a tunnel device of the kernel's in the namespace it is run in, with address, peers and routes, and leaves it
// there: `node kernel-device-main.ts <plan as JSON>`.

import type { IpipDevicePlan, VxlanDevicePlan } from '../../src/backend/plan.ts';
import type { KerseyError } from '../../src/errors.ts';
import type { Link } from '../../src/netlink/link.ts';
import { Netlink } from '../../src/netlink/client.ts';
import { IpipDevice } from '../../src/node/devices/ipip-device.ts';
import { VxlanDevice } from '../../src/node/devices/vxlan-device.ts';

const plan = JSON.parse(process.argv[2] ?? '') as VxlanDevicePlan | IpipDevicePlan;
const netlink = Netlink.open();
const onRepair = (_kind: string, what: string): void => {
  throw new Error(`a repair of what was never in order: ${what}`);
};

function make(): { readonly link: Link; readonly problems: readonly KerseyError[] } {
  if (plan.kind === 'ipip') {
    const driver = new IpipDevice({ netlink, onRepair });
    const link = driver.ensure(plan);
    driver.close();
    return { link, problems: [] };
  }
  const driver = new VxlanDevice({ netlink, onRepair });
  const link = driver.ensure(plan);
  const problems = driver.applyPeers(plan, link);
  driver.close();
  return { link, problems };
}

const { link, problems } = make();
netlink.setLink(link, { up: true });
for (const address of plan.addresses) netlink.addAddress(link, address);
const refused = netlink.changeRoutes(
  plan.routes.map(({ dst, via }) => ({
    action: 'replace',
    route: { dst, device: link, ...(via !== undefined && { via, onlink: true }) },
  })),
);
netlink.close();
const [first] = [...problems, ...refused];
if (first !== undefined) throw first;
