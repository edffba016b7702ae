// Flannel's udp backend on a host of a lab: the model of its proxy (flannel-proxy.c), compiled for the test, and the
// device, address and route that flanneld gives it.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run, type Background } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';

export interface FlannelProxyOptions {
  readonly network: string;
  /** First address of the host's subnet. */
  readonly base: string;
  readonly port: number;
  /** Of the underlay, less the 28 bytes of IPv4 and UDP. */
  readonly mtu: number;
  readonly routes: readonly { readonly subnet: string; readonly publicIp: string }[];
}

const source = fileURLToPath(new URL('flannel-proxy.c', import.meta.url));

export class FlannelProxy {
  readonly host: Host;
  readonly device = 'flannel0';
  readonly #child: Background;

  private constructor(host: Host, child: Background) {
    this.host = host;
    this.#child = child;
  }

  static async open(lab: Lab, host: Host, options: FlannelProxyOptions): Promise<FlannelProxy> {
    const program = join(lab.directory, `flannel-proxy-${host.name}`);
    await run(['cc', '-O2', '-o', program, source]);
    const { network, base, port, mtu } = options;
    const routes = options.routes.map(({ subnet, publicIp }) => `${subnet}=${publicIp}`);
    const child = host.spawn([program, 'flannel0', `${mtu}`, base, host.address4, `${port}`, ...routes]);
    await awaitCondition("the model of flannel's proxy", () => {
      if (!child.running) throw child.failure();
      return child.stdout.startsWith('ready');
    });
    await host.ip(
      `address add ${base}/32 dev flannel0`,
      `link set flannel0 mtu ${mtu} up`,
      `route add ${network} dev flannel0`,
    );
    return new FlannelProxy(host, child);
  }

  /** Whether it still runs. */
  get alive(): boolean {
    return this.#child.running;
  }
}
