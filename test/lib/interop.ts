import { kernelVxlanMissing, skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from './requirements.ts';

/** Interop tests need kernel vxlan on the other side and tshark in between. */
export async function skipUnlessInterop(): Promise<string | false> {
  const missing =
    skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('ip', 'ping', 'ethtool', 'tcpdump', 'tshark');
  if (missing !== false) return missing;
  const reason = await kernelVxlanMissing();
  return reason === undefined ? false : `no kernel vxlan: ${reason}`;
}
