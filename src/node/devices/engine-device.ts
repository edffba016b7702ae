// A TUN device with the engine behind it.
//
// The device lives as long as the engine, and the engine as long as its configuration stays the same. When somebody
// deletes the device, or moves it to another namespace, the engine is opened again; for whoever does that time and again
// at most once a second.

import type { EngineDevicePlan } from '../../backend/plan.ts';
import type { Engine, EngineConfig, EngineStats, PeerTable } from '../../engine/engine.ts';
import { KerseyError } from '../../errors.ts';
import type { Link } from '../../netlink/link.ts';
import type { Netlink } from '../../netlink/client.ts';
import type { DeviceDriver, DeviceState, OnRepair } from './driver.ts';

/** The part of an Engine that is used here. */
export type EngineFace = Pick<Engine, 'config' | 'setPeers' | 'state' | 'stats' | 'totals' | 'close'>;

export interface EngineDeviceOptions {
  readonly netlink: Pick<Netlink, 'link' | 'deleteLink' | 'setLink'>;
  readonly openEngine: (config: EngineConfig) => EngineFace;
  readonly onRepair: OnRepair;
  /** Milliseconds from any start; performance.now unless told. */
  readonly now?: () => number;
}

interface Running {
  readonly engine: EngineFace;
  /** The engine sends superpackets whole (feature tunnel-gso). */
  readonly wholeSuperpackets: boolean;
  readonly openedAt: number;
  /** How often in a row it was lost soon after it was opened. */
  readonly losses: number;
  /** Why the engine must be opened again, from when this is found until it is done. */
  lost: string | undefined;
  /** The table that the engine has. */
  table: PeerTable | undefined;
  /** Whether its size limits had been set. */
  tuned: boolean;
}

/** An engine that lived as long was well; a shorter life is counted as a loss in a row. In milliseconds. */
const soundLife = 10_000;
/** The wait before it is opened again after the second loss in a row, doubled with every further one, and its end. */
const firstWait = 500;
const longestWait = 1000;

export class EngineDevice implements DeviceDriver<EngineDevicePlan> {
  readonly kind = 'engine';
  readonly #options: EngineDeviceOptions;
  #running: Running | undefined;

  constructor(options: EngineDeviceOptions) {
    this.#options = options;
  }

  /** @throws KerseyError of Engine.open */
  ensure(plan: EngineDevicePlan): Link {
    const running = (this.#running ??= this.#open(plan.engine, 0));
    const state = running.engine.state();
    if (state.kind === 'failed') running.lost = state.reason;
    if (state.kind !== 'running' || !sameConfig(running.engine.config, plan.engine)) {
      this.#reopen(running, plan.engine);
    }
    const link = this.#link(plan);
    return this.#tuned(this.#running, plan, link);
  }

  applyPeers({ peers, local }: EngineDevicePlan): readonly KerseyError[] {
    const running = this.#running;
    if (running === undefined) throw new KerseyError('INTERNAL', 'the engine is not open');
    const table = { peers, local };
    if (running.table === undefined || !sameTable(running.table, table)) running.engine.setPeers(table);
    running.table = table;
    return [];
  }

  state(): DeviceState {
    return this.#running?.engine.state() ?? { kind: 'closed' };
  }

  stats(): EngineStats | undefined {
    const running = this.#running;
    return running === undefined || running.engine.state().kind === 'closed'
      ? undefined
      : running.engine.stats();
  }

  close(): void {
    this.#running?.engine.close();
    this.#running = undefined;
  }

  remove(): void {
    this.close();
  }

  #reopen({ engine, lost, openedAt, losses }: Running, config: EngineConfig): void {
    const lived = this.#now() - openedAt;
    const inRow = lost === undefined || lived >= soundLife ? 0 : losses + 1;
    const wait = inRow < 2 ? 0 : Math.min(longestWait, firstWait * 2 ** (inRow - 2));
    if (lost !== undefined && lived < wait) {
      throw new KerseyError(
        'ENGINE_FAILED',
        `${lost}, ${inRow} times in a row; the next try is in a moment`,
        {
          remedy: 'see who removes it with `ip monitor link`',
        },
      );
    }
    // The old device must be gone before the new one can have its name.
    engine.close();
    this.#running = this.#open(config, inRow);
    if (lost !== undefined) this.#options.onRepair('device', `${lost}; made again`);
  }

  #open(config: EngineConfig, losses: number): Running {
    this.#clear(config.device);
    const engine = this.#options.openEngine(config);
    const wholeSuperpackets = engine.totals().features.some(({ name, on }) => name === 'tunnel-gso' && on);
    return {
      ...{ engine, wholeSuperpackets, openedAt: this.#now(), losses },
      ...{ lost: undefined, table: undefined, tuned: false },
    };
  }

  /** A vxlan device of our name is what flannel, or a node on kernel vxlan, has left: it has our port and our addresses. */
  #clear(device: string): void {
    const link = this.#options.netlink.link(device);
    if (link?.kind === 'vxlan') this.#options.netlink.deleteLink(link);
  }

  /** The engine's device. When it is not here it was deleted this moment, or moved to another namespace. */
  #link({ engine: config }: EngineDevicePlan): Link {
    const { netlink } = this.#options;
    const link = netlink.link(config.device);
    if (link !== undefined) return link;
    if (this.#running !== undefined) {
      this.#running.lost = `the device ${config.device} was gone`;
      this.#reopen(this.#running, config);
    }
    const again = netlink.link(config.device);
    if (again !== undefined) return again;
    throw new KerseyError('ENGINE_FAILED', `the device ${config.device} does not appear in this namespace`, {
      remedy: 'see who removes it with `ip monitor link`',
    });
  }

  #tuned(running: Running, { gsoMaxSize }: EngineDevicePlan, link: Link): Link {
    const wanted = gsoMaxSize[running.wholeSuperpackets ? 'whole' : 'runs'];
    const change = {
      // What the kernel does not tell it does not let us set either.
      ...(link.gsoMaxSize !== undefined && link.gsoMaxSize !== wanted && { gsoMaxSize: wanted }),
      ...(link.gsoIpv4MaxSize !== undefined && link.gsoIpv4MaxSize !== wanted && { gsoIpv4MaxSize: wanted }),
    };
    if (Object.keys(change).length > 0) {
      this.#options.netlink.setLink(link, change);
      if (running.tuned)
        this.#options.onRepair('link', `${link.name}: set ${Object.keys(change).join(', ')}`);
    }
    running.tuned = true;
    return link;
  }

  #now(): number {
    return this.#options.now?.() ?? performance.now();
  }
}

function sameConfig(a: EngineConfig, b: EngineConfig): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function sameTable(a: PeerTable, b: PeerTable): boolean {
  if (a.peers === b.peers && a.local === b.local) return true;
  return JSON.stringify(a) === JSON.stringify(b);
}
