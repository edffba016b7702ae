/**
 * The dataplane as TypeScript sees it: it configures, observes and recovers; packets never come here.
 *
 * Opening makes the TUN device (down, without an address) and starts the worker threads; closing removes it.
 * Between the two the table of peers is replaced as a whole, in one atomic swap.
 */
import { KerseyError } from '../errors.ts';
import { isNativeError, type EngineHandle, type NativePeerStats } from '../native/binding.ts';
import { native } from '../native/loader.ts';
import { engineError } from './engine-error.ts';
import type { Feature, FeatureState } from './feature.ts';

export type EngineConfig = CommonConfig & (VxlanWire | UdpWire);

/** Frames as kernel vxlan and flannel's vxlan backend send them. */
export interface VxlanWire {
  readonly wire?: 'vxlan';
  readonly vni: number;
  /** This node's VtepMAC: what peers put into the inner Ethernet header. */
  readonly vtepMac: string;
}

/** Bare IPv4 packets as flannel's udp backend sends them. */
export interface UdpWire {
  readonly wire: 'udp';
}

interface CommonConfig {
  /** Name of the TUN device; must not exist yet. */
  readonly device: string;
  readonly port: number;
  /** Underlay address that frames leave from and are received on; its family is the outer one. */
  readonly local: string;
  /** The largest inner packet, in bytes. */
  readonly mtu: number;
  /** Queues, each with two threads. Default 1. */
  readonly workers?: number;
  readonly disable?: readonly Feature[];
  /** Accept frames from underlay addresses that hold no lease. Default false. */
  readonly allowUnknownSources?: boolean;
  /** Require that inner sources belong to the sending peer's subnet. Default true. */
  readonly innerSourceCheck?: boolean;
}

export interface EnginePeer {
  readonly prefix: string;
  readonly outer: string;
  /** With VXLAN; the udp wire has none. */
  readonly vtepMac?: string;
}

export interface PeerTable {
  readonly peers: readonly EnginePeer[];
  /** Prefixes of this node: inner destinations that are let in. */
  readonly local: readonly string[];
}

/**
 * - running: the workers move packets
 * - failed: they gave up because the device was deleted; close this engine and open another
 * - closed
 */
export type EngineState =
  | { readonly kind: 'running' }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'closed' };

export type PeerStats = NativePeerStats;

export interface EngineStats {
  readonly counters: Readonly<Record<string, bigint>>;
  /** Drops by reason, every reason of native/engine/drop.h. */
  readonly drops: Readonly<Record<string, bigint>>;
  readonly features: readonly FeatureState[];
  readonly peers: readonly PeerStats[];
}

export class Engine {
  readonly config: EngineConfig;
  #handle: EngineHandle | undefined;

  private constructor(config: EngineConfig, handle: EngineHandle) {
    this.config = config;
    this.#handle = handle;
  }

  /** @throws KerseyError TUN_MISSING, PERMISSION, DEVICE_TAKEN, PORT_IN_USE, ADDRESS_NOT_LOCAL, ENGINE_FAILED */
  static open(config: EngineConfig): Engine {
    const { workers = 1, disable = [], allowUnknownSources = false, innerSourceCheck = true } = config;
    try {
      const handle = native().engineOpen({
        wire: 'vxlan',
        ...config,
        workers,
        disable,
        allowUnknownSources,
        innerSourceCheck,
      });
      return new Engine(config, handle);
    } catch (error) {
      throw engineError(error, config);
    }
  }

  get device(): string {
    return this.config.device;
  }

  /**
   * Replaces the table of peers. On an error the old table stays.
   * @throws KerseyError SUBNET_OVERLAP when two peers have the same prefix, ADDRESS_INVALID when one lacks its VtepMAC
   */
  setPeers(table: PeerTable): void {
    this.#requireMacs(table.peers);
    try {
      native().engineSetPeers(this.#open(), linesOf(table.peers), table.peers.length, table.local);
    } catch (error) {
      if (isNativeError(error) && error.step === 'peers-duplicate') {
        throw new KerseyError('SUBNET_OVERLAP', `two peers of ${this.device} have the same subnet`, {
          remedy: 'remove one of the leases',
          cause: error,
        });
      }
      throw KerseyError.from(error);
    }
  }

  /** Without what is counted by peer, which is an object for each. */
  totals(): Omit<EngineStats, 'peers'> {
    return native().engineStats(this.#open());
  }

  stats(): EngineStats {
    return { ...this.totals(), peers: native().enginePeers(this.#open()) };
  }

  state(): EngineState {
    if (this.#handle === undefined) return { kind: 'closed' };
    const failed = native().engineFailed(this.#handle);
    if (failed === null) return { kind: 'running' };
    const deleted = failed === 'EBADFD';
    return {
      kind: 'failed',
      reason: deleted ? `the device ${this.device} was deleted` : `${this.device}: ${failed}`,
    };
  }

  /** Stops the workers and removes the device. Closing twice is fine. */
  close(): void {
    if (this.#handle === undefined) return;
    const handle = this.#handle;
    this.#handle = undefined;
    native().engineClose(handle);
  }

  #requireMacs(peers: readonly EnginePeer[]): void {
    if (this.config.wire === 'udp') return;
    const without = peers.find(({ vtepMac = '' }) => vtepMac === '');
    if (without === undefined) return;
    throw new KerseyError('ADDRESS_INVALID', `the peer ${without.prefix} of ${this.device} has no VtepMAC`, {
      remedy: 'take it from the lease; only the udp wire does without',
    });
  }

  #open(): EngineHandle {
    if (this.#handle === undefined)
      throw new KerseyError('INTERNAL', `the engine of ${this.device} is closed`);
    return this.#handle;
  }
}

/** All peers as one string, see `engineSetPeers`. */
function linesOf(peers: readonly EnginePeer[]): string {
  let lines = '';
  for (const { prefix, outer, vtepMac = '' } of peers) lines += `${prefix};${outer};${vtepMac}\n`;
  return lines;
}
