/** The optional kernel features, by the names that C gives them (native/engine/feature.h). */
export const features = [
  'tun-csum',
  'tun-tso',
  'tun-uso',
  'tun-steering',
  'udp-gso',
  'udp-gro',
  'tunnel-gso',
  'flow-offload',
  'flow-receive',
  'receive-ring',
  'batch',
  'coalesce',
  'coalesce-udp',
  'home-cpu',
] as const;

export type Feature = (typeof features)[number];

export function isFeature(name: string): name is Feature {
  return (features as readonly string[]).includes(name);
}

export interface FeatureState {
  readonly name: string;
  readonly on: boolean;
  /** One clause: what the probe saw, or who switched it off. */
  readonly reason: string;
}
