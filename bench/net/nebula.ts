// nebula: an overlay in userspace, with its own certificates. It encrypts; its MTU is set to 1420 (1300 by default).

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import { ping } from '../../src/lab/measure.ts';
import type { Contender } from './contender.ts';
import { missingPrograms } from './installed.ts';
import { openVeth } from './plain.ts';

export const nebula: Contender = {
  name: 'nebula',
  vouched: false,
  unavailable: () => missingPrograms('nebula', 'nebula-cert'),
  open: async (options) => {
    const lab = await openVeth(options);
    try {
      const path = (name: string): string => join(lab.directory, name);
      const ca = ['-ca-crt', path('ca.crt'), '-ca-key', path('ca.key')];
      await run([
        'nebula-cert',
        'ca',
        '-name',
        'bench',
        '-out-crt',
        path('ca.crt'),
        '-out-key',
        path('ca.key'),
      ]);
      const hostMap = lab.hosts
        .map((host, index) => `"10.99.0.${index + 1}": ["${host.address4}:4242"]`)
        .join(', ');
      for (const [index, { name }] of lab.hosts.entries()) {
        const out = ['-out-crt', path(`${name}.crt`), '-out-key', path(`${name}.key`)];
        await run(['nebula-cert', 'sign', ...ca, '-name', name, '-ip', `10.99.0.${index + 1}/24`, ...out]);
        writeFileSync(path(`${name}.yml`), configuration(path, name, hostMap));
        lab.host(name).spawn(['nebula', '-config', path(`${name}.yml`)]);
      }
      await awaitCondition(
        'nebula',
        async () => (await ping(lab.host('h1'), '10.99.0.2', { count: 1 })).received > 0,
      );
      return { lab, address: '10.99.0.2', close: () => lab.close() };
    } catch (error) {
      await lab.close();
      throw error;
    }
  },
};

function configuration(path: (name: string) => string, name: string, hostMap: string): string {
  const any = '[{port: any, proto: any, host: any}]';
  return [
    `pki: {ca: ${path('ca.crt')}, cert: ${path(`${name}.crt`)}, key: ${path(`${name}.key`)}}`,
    `static_host_map: {${hostMap}}`,
    'lighthouse: {am_lighthouse: false, hosts: []}',
    'listen: {host: 0.0.0.0, port: 4242}',
    'tun: {dev: nebula1, mtu: 1420}',
    'logging: {level: error}',
    `firewall: {outbound: ${any}, inbound: ${any}}`,
    '',
  ].join('\n');
}
