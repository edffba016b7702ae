// alloc: a subnet for this host and nothing else. Whoever asked for it carries the packets.

import type { Backend, PlanInput } from './backend.ts';
import type { Plan } from './plan.ts';

export class AllocBackend implements Backend {
  // flannel's alloc nodes leave the name out.
  readonly leaseType = undefined;
  readonly needsOnLink = false;
  readonly deviceNames = [];

  leaseData(): undefined {
    return undefined;
  }

  isComplete(): boolean {
    return true;
  }

  device(): undefined {
    return undefined;
  }

  plan({ host }: PlanInput): Plan {
    return { devices: [], routes: [], peers: [], mtu: host.ifaceMtu, warnings: [] };
  }
}
