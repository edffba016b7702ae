// subnet.env on a file system that gets full: what was there stays whole, the status says what is wrong, and as soon as
// there is room the file is right.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';

import { errnoName } from '../../src/errors.ts';
import { run } from '../../src/lab/command.ts';
import { Lab } from '../../src/lab/lab.ts';
import { Daemon } from '../lib/daemon.ts';
import { inOwnMounts } from '../lib/own-mounts.ts';
import { skipUnlessTun } from '../lib/requirements.ts';

function fill(file: string): void {
  try {
    for (;;) writeFileSync(file, Buffer.alloc(4096), { flag: 'a' });
  } catch (error) {
    if (errnoName(error) !== 'ENOSPC') throw error;
  }
}

if (inOwnMounts(import.meta.filename)) {
  t.test('a full disk', { skip: skipUnlessTun() }, async (t) => {
    const lab = await Lab.open({ hosts: ['h1'] });
    t.teardown(() => lab.close());
    const store = path.join(lab.directory, 'network.json');
    const config = { Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } };
    writeFileSync(store, JSON.stringify({ config, leases: {} }));
    const small = path.join(lab.directory, 'small');
    mkdirSync(small);
    await run(['mount', '-t', 'tmpfs', '-o', 'size=16k', 'small', small]);
    t.teardown(() => run(['umount', small]));
    const [file, filler] = [path.join(small, 'subnet.env'), path.join(small, 'filler')];
    const h1 = lab.host('h1');
    const start = (): Daemon =>
      new Daemon(h1, store, path.join(lab.directory, 'h1'), ['--iface', 'eth0', '--subnet-file', file]);
    const full = {
      code: 'FILE_UNWRITABLE',
      message: `cannot write the subnet file ${file}: no space left on device (ENOSPC)`,
      remedy: /^free some space/,
    };

    const daemon = start();
    await daemon.ready();
    const before = readFileSync(file, 'utf8');
    t.match(
      before,
      /^FLANNEL_NETWORK=10\.5\.0\.0\/16\nFLANNEL_SUBNET=.*\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n$/,
    );

    fill(filler);
    await h1.ip('link set eth0 mtu 1400');
    const status = await daemon.until('has no room', ({ problems }) => problems.length > 0);
    t.match(status, { state: 'degraded', problems: [full] });
    t.equal(readFileSync(file, 'utf8'), before, 'what was there is whole');
    t.same(readdirSync(small).sort(), ['filler', 'subnet.env'], 'and nothing beside it');
    const [link] = await h1.ipJson<{ mtu: number }[]>('link', 'show', 'flannel.1');
    t.equal(link?.mtu, 1350, 'the device does not wait for the file');

    rmSync(filler);
    await daemon.until('has room', ({ problems }) => problems.length === 0);
    const now = before.replace('1450', '1350');
    t.equal(readFileSync(file, 'utf8'), now);
    t.equal(await daemon.end(), 0);

    fill(filler);
    const refused = start();
    t.equal(await refused.process.exited, 1);
    t.match(
      refused.process.stderr,
      /FILE_UNWRITABLE: cannot write the subnet file .* \(ENOSPC\); free some space/,
    );
    t.equal(readFileSync(file, 'utf8'), now);
    t.same(readdirSync(small).sort(), ['filler', 'subnet.env']);
    t.notMatch((await h1.exec(['ip', 'link'])).stdout, /flannel/, 'everything is undone');

    rmSync(filler);
    const again = start();
    await again.ready();
    t.equal(readFileSync(file, 'utf8'), now, 'the same subnet');
    t.equal(await again.end(), 0);
  });
}
