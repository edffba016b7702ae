// What `kersey up` costs while nothing happens: CPU time of the whole process, control plane included, with 1,000 peers.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { awaitCondition } from '../../src/lab/condition.ts';
import { processSeconds } from '../../src/lab/cpu.ts';
import { EngineHost } from '../../src/lab/engine-host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { leaseEntry } from '../../src/lab/store-file.ts';
import type { ScaleNumbers, ScaleOptions } from './scale.ts';

const count = 1000;

export async function idleWithPeers({
  settleSeconds,
  idleSeconds,
  signal,
}: ScaleOptions): Promise<ScaleNumbers> {
  const lab = await Lab.open({ hosts: ['h1'], signal });
  try {
    const host = lab.host('h1');
    const directory = join(lab.directory, 'store');
    mkdirSync(directory);
    const storeFile = join(directory, 'network.json');
    writeFileSync(storeFile, storeText());
    const engine = EngineHost.start(host, { storeFile, directory: join(lab.directory, 'h1'), signal });
    await engine.ready();
    await awaitCondition(
      `${count} routes`,
      async () => (await host.ipJson<unknown[]>('route', 'show', 'dev', 'flannel.1')).length >= count,
      { signal, timeoutMs: 30_000, intervalMs: 500 },
    );
    await delay(settleSeconds * 1000, undefined, { signal });
    const used = (): number => {
      const { pid, running } = engine.daemon;
      if (pid === undefined || !running) throw engine.failure();
      return processSeconds(pid);
    };
    const [before, start] = [used(), performance.now()];
    await delay(idleSeconds * 1000, undefined, { signal });
    const seconds = (performance.now() - start) / 1000;
    return { 'idle.percent': [(100 * (used() - before)) / seconds] };
  } finally {
    await lab.close();
  }
}

function storeText(): string {
  const leases = Array.from({ length: count }, (_, index) => {
    const [high, low] = [200 + Math.floor(index / 250), index % 250];
    const mac = `02:6b:79:01:${high.toString(16)}:${low.toString(16).padStart(2, '0')}`;
    return leaseEntry(1, {
      subnet: `10.${high}.${low}.0/24`,
      publicIp: `172.20.${high}.${low + 1}`,
      mac,
    });
  });
  const config = { Network: '10.0.0.0/8', SubnetLen: 24, Backend: { Type: 'vxlan', VNI: 1 } };
  return JSON.stringify({ config, leases: Object.fromEntries(leases) });
}
