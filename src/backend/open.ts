// The backend that the network configuration asks for.

import type { NetworkConfig } from '../config/network.ts';
import { AllocBackend } from './alloc.ts';
import type { Backend, BackendContext } from './backend.ts';
import { prepareExtension } from './extension/extension.ts';
import { HostGwBackend } from './host-gw.ts';
import { IpipBackend } from './ipip.ts';
import { UdpBackend } from './udp.ts';
import { VxlanBackend } from './vxlan.ts';
import { loadKey } from './wireguard/key.ts';
import { WireguardBackend } from './wireguard/wireguard.ts';

/** @throws KerseyError BACKEND_UNSUPPORTED */
export type BackendMaker = (context: BackendContext) => Backend;

/** Fetches what the backend needs from outside (a key, the output of a command), once for the life of a node. */
export async function prepareBackend({ backend }: NetworkConfig, signal: AbortSignal): Promise<BackendMaker> {
  switch (backend.type) {
    case 'vxlan':
      return (context) => new VxlanBackend(backend, context);
    case 'udp':
      return (context) => new UdpBackend(backend, context);
    case 'host-gw':
      return (context) => new HostGwBackend(context);
    case 'ipip':
      return (context) => new IpipBackend(backend, context);
    case 'wireguard': {
      const key = loadKey();
      return (context) => new WireguardBackend(backend, context, key);
    }
    case 'extension':
      return prepareExtension(backend, signal);
    case 'alloc':
      return () => new AllocBackend();
  }
}
