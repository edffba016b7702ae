import t from 'tap';

import { EtcdClient } from '../../../../src/store/etcd/client.ts';
import { rangeOf } from '../../../../src/store/etcd/messages.ts';
import { parseEndpoint } from '../../../../src/store/etcd/options.ts';

t.test('endpoints as operators write them', (t) => {
  const names: Readonly<Record<string, string>> = {
    'http://127.0.0.1:4001': 'http://127.0.0.1:4001',
    'https://etcd.example:443/': 'https://etcd.example:443',
    'HTTPS://etcd.example:80': 'https://etcd.example:80',
    'etcd.example:2379': 'http://etcd.example:2379',
    ' http://etcd.example': 'http://etcd.example:2379',
    'http://[fd00::1]:2379': 'http://[fd00::1]:2379',
  };
  for (const [text, name] of Object.entries(names)) t.equal(parseEndpoint(text).name, name);
  t.end();
});

t.test('what is no endpoint is refused, and a password in it is not repeated', (t) => {
  const wrong = [
    '',
    'http://',
    'ftp://etcd:2379',
    'http://etcd:0',
    'http://etcd:65536',
    'http://etcd:2379/v3',
    'a b',
    'fd00::1',
  ];
  for (const text of wrong) t.throws(() => parseEndpoint(text), { code: 'USAGE' }, text);
  t.throws(() => parseEndpoint('http://root:s3cret@etcd:2379'), {
    code: 'USAGE',
    message: "'http://...@etcd:2379' is not an endpoint of etcd",
  });
  t.throws(() => new EtcdClient({ endpoints: [] }), { code: 'USAGE' });
  t.end();
});

t.test('where a prefix ends', (t) => {
  const end = (prefix: string) => Buffer.from(rangeOf(prefix).rangeEnd).toString('latin1');
  t.equal(end('/a/'), '/a0');
  t.equal(end('/é'), '/\xc3\xaa', 'in bytes of UTF-8');
  t.strictSame(rangeOf(''), { key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0) }, 'all keys');
  t.end();
});
