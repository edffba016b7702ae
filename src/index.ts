/**
 * Kersey as a library: the dataplane engine, the stores and the pure parts of the control plane.
 *
 * `Engine.open()` makes a TUN device and moves packets between it and VXLAN over UDP on its own threads; addresses,
 * routes and MTU of the device are the caller's. Whoever wants the whole node runs `kersey up`.
 */
export { Engine } from './engine/engine.ts';
export type {
  EngineConfig,
  EnginePeer,
  EngineState,
  EngineStats,
  PeerStats,
  PeerTable,
} from './engine/engine.ts';
export { features, isFeature } from './engine/feature.ts';
export type { Feature, FeatureState } from './engine/feature.ts';
export { KerseyError, errorCodes } from './errors.ts';
export type { ErrorCode } from './errors.ts';
export { parseNetworkConfig } from './config/network.ts';
export type { NetworkConfig } from './config/network.ts';
export { openStore } from './store/open.ts';
export type { Lease, LeaseAttrs } from './store/lease.ts';
export type { AcquireRequest, StoreEvent, SubnetManager } from './store/subnet-manager.ts';
