// Whatever other programs do to links, addresses, routes, neighbours and rules, a node puts it right, and touches nothing
// that is not its own. How fast is a matter for `npm run bench -- repair`.

import t from 'tap';

import { breakageSuites } from '../lib/breakage-kinds.ts';
import { BreakageWorld } from '../lib/breakage-world.ts';
import { breakAndWatch } from '../lib/breakage.ts';
import { skipUnlessInstalled, skipUnlessRoot, skipUnlessTun } from '../lib/requirements.ts';

const skip = skipUnlessRoot() || skipUnlessTun() || skipUnlessInstalled('nft', 'iptables');
const seed = Number(process.env['SEED'] ?? 20_261_123);
const count = Number(process.env['COUNT'] ?? 15);

for (const suite of breakageSuites) {
  t.test(`${suite}: ${count} breakages of seed ${seed}`, { skip }, async (t) => {
    const world = await BreakageWorld.open(suite);
    if (typeof world === 'string') {
      t.pass('nothing to break', { skip: world });
      return;
    }
    t.teardown(() => world.close());
    const done = await breakAndWatch(world, count, seed);
    const slowest = done.toSorted((a, b) => b.seconds - a.seconds).slice(0, 3);
    t.ok(done.length >= count, `put right; slowest: ${JSON.stringify(slowest)}`);
    const status = await world.well();
    const repairs = Object.values(status.repairs).reduce((sum, n) => sum + n, 0);
    t.ok(repairs >= count / 2, `and counted: ${JSON.stringify(status.repairs)}`);
    t.same(await world.foreignLost(), [], "what is others' is as it was");
    t.equal(await world.daemon.end(), 0);
  });
}
