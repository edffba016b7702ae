// The same exchange with each of the engine's features switched off, and with all of them off: every rung of its
// ladders speaks with kernel vxlan.

import t from 'tap';
import { features } from '../../src/engine/feature.ts';
import { exchangeEverything } from '../lib/exchange.ts';
import { skipUnlessInterop } from '../lib/interop.ts';

const skip = await skipUnlessInterop();

for (const disabled of [...features.map((feature) => [feature]), [...features]]) {
  t.test(`without ${disabled.join(', ')}`, { skip }, (t) =>
    exchangeEverything(t, { disabled, sizes: 'few' }),
  );
}
