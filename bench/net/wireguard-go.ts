// wireguard-go: WireGuard in userspace. It encrypts; its MTU is 1420.

import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Contender } from './contender.ts';
import { missingPrograms } from './installed.ts';
import { openVeth } from './plain.ts';

export const wireguardGo: Contender = {
  name: 'wireguard-go',
  vouched: false,
  unavailable: () => missingPrograms('wireguard-go', 'wg'),
  open: async (options) => {
    const lab = await openVeth(options);
    // The control socket's name is the device's and lies in one directory for all namespaces.
    const random = lab.id.slice(lab.id.lastIndexOf('-') + 1);
    const nodes = lab.hosts.map((host, index) => ({
      ...{ host, device: `w${random}${index}`, inner: `10.99.0.${index + 1}` },
      keyFile: join(lab.directory, `${host.name}.key`),
    }));
    const sockets = nodes.map(({ device }) => `/var/run/wireguard/${device}.sock`);
    const close = async (): Promise<void> => {
      await lab.close();
      for (const socket of sockets) rmSync(socket, { force: true });
    };
    try {
      const keys: string[] = [];
      for (const { host, device, keyFile } of nodes) {
        const { stdout: secret } = await run(['wg', 'genkey']);
        writeFileSync(keyFile, secret, { mode: 0o600 });
        keys.push((await run(['wg', 'pubkey'], { input: secret })).stdout.trim());
        host.spawn(['wireguard-go', '-f', device]);
      }
      await awaitCondition('wireguard-go', () => sockets.every((socket) => existsSync(socket)));
      for (const [index, { host, device, inner, keyFile }] of nodes.entries()) {
        const peer = nodes[1 - index];
        await host.exec(
          [
            'wg',
            'set',
            device,
            'private-key',
            keyFile,
            'listen-port',
            '51820',
            'peer',
            keys[1 - index] ?? '',
          ].concat(['allowed-ips', '10.99.0.0/24', 'endpoint', `${peer?.host.address4 ?? ''}:51820`]),
        );
        await host.ip(`address add ${inner}/24 dev ${device}`, `link set ${device} mtu 1420 up`);
      }
      return { lab, address: '10.99.0.2', close };
    } catch (error) {
      await close();
      throw error;
    }
  },
};
