import t from 'tap';
import { KerseyError } from '../../../src/errors.ts';
import { parseCidr } from '../../../src/net/cidr.ts';
import { Reclaim } from '../../../src/node/reclaim.ts';
import type { Lease } from '../../../src/store/lease.ts';
import { settled } from '../../lib/memory-etcd.ts';

const lease: Lease = {
  subnet: parseCidr('10.5.1.0/24'),
  subnet6: undefined,
  attrs: { publicIP: '192.168.64.1', publicIPv6: null },
};

void t.test(
  'one try at a time, the waits growing; the last failure is there until the lease is',
  async (t) => {
    let now = 0;
    let tries = 0;
    let answer: () => Lease = () => {
      throw new KerseyError('CONFIG_MISSING', 'no config', { remedy: 'write it' });
    };
    const done: Lease[] = [];
    const reclaim = new Reclaim(
      async ({ subnet }) => {
        tries++;
        t.equal(subnet, lease.subnet, 'the same subnet is asked for');
        await settled();
        return answer();
      },
      'the lease could not be claimed again',
      () => now,
    );
    const attempt = (): void => {
      reclaim.attempt(lease, (got) => done.push(got));
    };
    t.notOk(reclaim.wanted);
    attempt();
    attempt();
    t.equal(tries, 1);
    t.ok(reclaim.wanted);
    const at: number[] = [];
    for (now = 0; now < 120_000; now += 500) {
      const before = tries;
      attempt();
      await settled();
      await settled();
      if (tries > before) at.push(now);
    }
    t.same(at, [1000, 3000, 7000, 15_000, 31_000, 61_000, 91_000]);
    t.match(reclaim.failure, {
      code: 'CONFIG_MISSING',
      message: /claimed again: no config/,
      remedy: 'write it',
    });
    answer = () => lease;
    now = 200_000;
    attempt();
    await settled();
    await settled();
    t.same(done, [lease]);
    reclaim.over();
    t.equal(reclaim.failure, undefined);
    t.notOk(reclaim.wanted);
  },
);
