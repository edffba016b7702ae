// What can be measured between two hosts.

import type { Lab } from '../../src/lab/lab.ts';
import type { OffloadProfile } from '../../src/lab/offloads.ts';

export type TestName = 'tcp1' | 'tcp8' | 'udp64' | 'udp1400' | 'roundTrip';

export interface Contender {
  readonly name: string;
  /** The tests it takes part in; all when not given. */
  readonly tests?: readonly TestName[];
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
  /** Drops that the contender itself counted so far, by reason; for those that tell. */
  drops?(): Promise<Readonly<Record<string, number>>>;
  close(): Promise<void>;
}
