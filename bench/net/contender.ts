// What can be measured between two hosts.

import type { EngineTotals } from '../../src/lab/losses.ts';
import type { Lab } from '../../src/lab/lab.ts';
import type { OffloadProfile } from '../../src/lab/offloads.ts';

export type TestName = 'tcp1' | 'tcp8' | 'udp64' | 'udp1400' | 'roundTrip';

export interface Contender {
  readonly name: string;
  /** Whether a fault of it fails the run: Kersey, and what it is compared with. Others are left out instead. */
  readonly vouched: boolean;
  /** Why it cannot run here; undefined when it can. */
  unavailable(): Promise<string | undefined>;
  /** Joins two hosts of a fresh lab. */
  open(options: OpenOptions): Promise<Joined>;
}

export interface OpenOptions {
  readonly offloads: OffloadProfile;
  readonly signal: AbortSignal;
}

/** Two hosts that reach each other. */
export interface Joined {
  readonly lab: Lab;
  /** The second host's address, as the first host reaches it. */
  readonly address: string;
  /** What the contender itself counted so far; for those that tell. */
  totals?(): Promise<EngineTotals>;
  close(): Promise<void>;
}
