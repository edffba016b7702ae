import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t from 'tap';

import { formatCidr, parseCidr } from '../../../src/net/cidr.ts';
import {
  formatSubnetEnv,
  parsePreviousSubnets,
  readPreviousSubnets,
  writeSubnetEnv,
} from '../../../src/node/subnet-env.ts';

const env = {
  network: parseCidr('10.5.0.0/16'),
  subnet: parseCidr('10.5.72.0/24'),
  ipv6Network: parseCidr('fc00::/48'),
  ipv6Subnet: parseCidr('fc00:0:0:3::/64'),
  mtu: 1450,
  ipMasq: false,
};

const directory = mkdtempSync(path.join(tmpdir(), 'kersey-subnet-env-'));
t.teardown(() => {
  rmSync(directory, { recursive: true, force: true });
});

t.test("flannel's lines, to the byte", async (t) => {
  t.equal(
    formatSubnetEnv(env),
    [
      'FLANNEL_NETWORK=10.5.0.0/16',
      'FLANNEL_SUBNET=10.5.72.1/24',
      'FLANNEL_IPV6_NETWORK=fc00::/48',
      'FLANNEL_IPV6_SUBNET=fc00:0:0:3::1/64',
      'FLANNEL_MTU=1450',
      'FLANNEL_IPMASQ=false',
      '',
    ].join('\n'),
  );
  const { network, subnet, mtu } = env;
  t.equal(
    formatSubnetEnv({ network, subnet, mtu, ipMasq: true }),
    'FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.72.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n',
  );
});

t.test('written whole, for all to read, with nothing left beside it', async (t) => {
  const file = path.join(directory, 'run/flannel/subnet.env');
  const umask = process.umask(0o077);
  t.teardown(() => process.umask(umask));
  writeSubnetEnv(file, env);
  writeSubnetEnv(file, { ...env, mtu: 1400 });
  t.match(readFileSync(file, 'utf8'), /FLANNEL_MTU=1400/);
  t.equal(statSync(file).mode & 0o777, 0o644);
  t.same(readdirSync(path.dirname(file)), ['subnet.env']);
});

t.test('a place that cannot be written is named, and nothing is left', async (t) => {
  const file = path.join(directory, 'plain');
  writeFileSync(file, '');
  t.throws(
    () => {
      writeSubnetEnv(path.join(file, 'subnet.env'), env);
    },
    { code: 'FILE_UNWRITABLE', message: /plain\/subnet\.env: / },
  );
});

t.test('what was written is read back', async (t) => {
  const file = path.join(directory, 'again.env');
  t.same(readPreviousSubnets(file), {}, 'there was no earlier run');
  writeSubnetEnv(file, env);
  const { subnet, ipv6Subnet } = readPreviousSubnets(file);
  t.equal(subnet && formatCidr(subnet), '10.5.72.0/24');
  t.equal(ipv6Subnet && formatCidr(ipv6Subnet), 'fc00:0:0:3::/64');
  chmodSync(file, 0o644);
});

t.test('the syntax of godotenv, and whatever else counts as absent', async (t) => {
  const read = (text: string): string | undefined => {
    const { subnet } = parsePreviousSubnets(text);
    return subnet && formatCidr(subnet);
  };
  t.equal(read('export FLANNEL_SUBNET="10.5.3.1/24" # mine'), '10.5.3.0/24');
  t.equal(read("FLANNEL_SUBNET='10.5.3.1/24'"), '10.5.3.0/24');
  t.equal(read(' FLANNEL_SUBNET = 10.5.3.1/24 # x\r\n'), '10.5.3.0/24');
  t.equal(read('FLANNEL_SUBNET=nonsense,10.5.3.1/24'), '10.5.3.0/24', 'what is no subnet is skipped');
  t.equal(read('FLANNEL_SUBNET=10.5.3.1/24,10.5.4.1/24'), undefined, 'two are none');
  t.equal(read('FLANNEL_SUBNET=fd00::1/64'), undefined, 'another family');
  t.equal(read('#FLANNEL_SUBNET=10.5.3.1/24'), undefined);
  t.equal(read('\0\uFFFD'), undefined);
});
