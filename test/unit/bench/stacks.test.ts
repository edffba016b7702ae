// What perf prints becomes folded stacks and shares.

import t from 'tap';
import { foldedStacks, foldedText, hottest, programs } from '../../../bench/profile/stacks.ts';

const script = `swapper 
	ffffffff81000001 pv_native_safe_halt+0xf ([kernel.kallsyms])
	ffffffff81000002 default_idle+0x9 ([kernel.kallsyms])

swapper 
	ffffffff81000003 handle_softirqs
	ffffffff81000004 irq_exit_rcu

kersey-tx0 
	ffffffff81000005 _copy_to_iter
	ffffffff81000006 tun_do_read

kersey-tx0 
	ffffffff81000005 _copy_to_iter
	ffffffff81000006 tun_do_read

odd name;x 
	    7f0000000001 [unknown]
`;

t.test('idle samples are left out, equal ones added up', async (t) => {
  const { stacks, samples, busy } = foldedStacks(script);
  t.same([samples, busy], [5, 4]);
  t.equal(
    foldedText(stacks, 10_000),
    'kersey-tx0;tun_do_read;_copy_to_iter 2\nswapper;irq_exit_rcu;handle_softirqs 1\nodd_name_x;[unknown] 1\n',
  );
  t.equal(foldedText(stacks, 50), 'kersey-tx0;tun_do_read;_copy_to_iter 2\n', 'the rarest go first');
});

t.test('shares are of the busy samples', async (t) => {
  const { stacks } = foldedStacks(script);
  t.same(hottest(stacks, 1), [{ symbol: '_copy_to_iter', percent: 50 }]);
  t.same(
    programs(stacks, 9).map(({ symbol }) => symbol),
    ['kersey-tx0', 'swapper', 'odd_name_x'],
  );
});

t.test('nothing recorded is nothing', async (t) => {
  t.same(foldedStacks('\n'), { stacks: [], samples: 0, busy: 0 });
});
