import t from 'tap';

import {
  collect,
  parseFeatures,
  parseFirewall,
  parseOutput,
  parseWorkers,
} from '../../../src/cli/options.ts';

t.test('values that are right', async (t) => {
  t.same([parseOutput('text'), parseOutput('json')], ['text', 'json']);
  t.same([parseFirewall('auto'), parseFirewall('off')], ['auto', 'off']);
  t.same([parseWorkers('1'), parseWorkers('16')], [1, 16]);
  t.same(parseFeatures('udp-gso, udp-gro'), ['udp-gso', 'udp-gro']);
  t.same(parseFeatures('batch,udp-gso', ['udp-gso']), ['udp-gso', 'batch'], 'repeated');
  t.same(collect('b', ['a']), ['a', 'b']);
});

t.test('values that are wrong are named, with what would be right', async (t) => {
  const wrong = { code: 'USAGE' };
  t.throws(() => parseOutput('yaml'), { ...wrong, message: /yaml/, remedy: /text or .*json/ });
  for (const text of ['0', '17', '-1', '1.5', 'x', '', '1e1']) {
    t.throws(() => parseWorkers(text), { ...wrong, remedy: /1 to 16/ }, text);
  }
  t.throws(() => parseFeatures('udp-gso,warp'), {
    ...wrong,
    message: /--disable warp/,
    remedy: /tun-csum, .*batch/,
  });
  t.throws(() => parseFeatures(''), wrong);
  t.throws(() => parseFirewall('ufw'), {
    ...wrong,
    message: /--firewall ufw/,
    remedy: /auto, nft, iptables, off/,
  });
});
