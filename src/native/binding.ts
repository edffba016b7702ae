/**
 * The native library's functions as native/addon exports them. Only src/engine, src/netlink,
 * src/observe and src/store use them; they turn what these throw into KerseyErrors.
 */

/** What the addon throws: the step that failed and the errno. */
export interface NativeError extends Error {
  readonly step: string;
  readonly errno: number;
  readonly errnoName: string;
}

export function isNativeError(error: unknown): error is NativeError {
  return error instanceof Error && 'step' in error && 'errnoName' in error;
}

declare const engineHandle: unique symbol;
/** An open engine. Closed by engineClose, or when its environment ends. */
export interface EngineHandle {
  readonly [engineHandle]: true;
}

declare const watchHandle: unique symbol;
/** A watched descriptor. Closed by watchClose, or when its environment ends. Who drops it unclosed may not be called. */
export interface WatchHandle {
  readonly [watchHandle]: true;
}

export type NativeEngineConfig = NativeCommonConfig & NativeWire;

export type NativeWire =
  { readonly wire: 'vxlan'; readonly vni: number; readonly vtepMac: string } | { readonly wire: 'udp' };

interface NativeCommonConfig {
  readonly device: string;
  readonly port: number;
  readonly local: string;
  readonly mtu: number;
  readonly workers: number;
  readonly disable: readonly string[];
  readonly allowUnknownSources: boolean;
  readonly innerSourceCheck: boolean;
}

export interface NativeFeature {
  readonly name: string;
  readonly on: boolean;
  readonly reason: string;
}

export interface NativeStats {
  readonly counters: Readonly<Record<string, bigint>>;
  readonly drops: Readonly<Record<string, bigint>>;
  readonly features: readonly NativeFeature[];
  /** The name of the errno for which the workers gave up. */
  readonly failed: string | null;
}

export interface NativePeerStats {
  readonly prefix: string;
  readonly outer: string;
  readonly txPackets: bigint;
  readonly txBytes: bigint;
  readonly rxPackets: bigint;
  readonly rxBytes: bigint;
}

export interface NativeProbe {
  readonly features: readonly NativeFeature[];
  /** Datagrams that one UDP_SEGMENT send may hold. */
  readonly framesMax: number;
  /** Whether the probes ran in a network namespace of their own. */
  readonly isolated: boolean;
  /** Which checksum code runs: "avx2" or "baseline". */
  readonly checksum: string;
}

export interface NamedText {
  readonly name: string;
  readonly text: string;
}

export interface Microbench {
  readonly name: string;
  /** Bytes that one iteration handles; 0 where it is not about bytes. */
  readonly bytes: number;
  /** Runs so many iterations and returns the nanoseconds they took. */
  run(iterations: number): number;
}

export interface Native {
  engineOpen(config: NativeEngineConfig): EngineHandle;
  /** Peers: for each a line of prefix, outer address and VtepMAC, which may be empty, divided by semicolons. */
  engineSetPeers(engine: EngineHandle, peers: string, count: number, local: readonly string[]): void;
  engineStats(engine: EngineHandle): NativeStats;
  enginePeers(engine: EngineHandle): readonly NativePeerStats[];
  engineFailed(engine: EngineHandle): string | null;
  engineClose(engine: EngineHandle): void;
  probe(): NativeProbe;
  catalogue(): {
    readonly drops: readonly NamedText[];
    readonly counters: readonly NamedText[];
    readonly features: readonly NamedText[];
  };

  netlinkOpen(protocol: number, groups: number): number;
  netlinkRequest(fd: number, request: Uint8Array): Uint8Array;
  netlinkReceive(fd: number): Uint8Array | undefined;
  netlinkClose(fd: number): void;

  /**
   * Calls back once when the descriptor is readable or in error, and once more after each watchArm; makes it
   * non-blocking. Does not keep the process alive. What the callback throws is an uncaught exception.
   */
  watchOpen(fd: number, callback: () => void): WatchHandle;
  watchArm(watch: WatchHandle): void;
  /** The callback is not called again, and only now may the descriptor be closed. Also from within the callback. */
  watchClose(watch: WatchHandle): void;

  /** flock(2), exclusive and without waiting. Whether the lock was had. */
  tryLock(fd: number): boolean;
  unlock(fd: number): void;

  /** One datagram to a UNIX socket, by its path or '@' and its abstract name, without waiting (EAGAIN). */
  notify(path: string, message: string): void;

  microbenches(): readonly Microbench[];
}
