// Who carries the packets, asked of a kernel that can do what the test says.

import t from 'tap';

import { parseNetworkConfig } from '../../../src/config/network.ts';
import { KerseyError } from '../../../src/errors.ts';
import type { Link, LinkCreate } from '../../../src/netlink/link.ts';
import { chooseDataplane, dataplaneWishes } from '../../../src/node/dataplane.ts';
import type { DataplaneChoice, DataplaneWish } from '../../../src/node/dataplane.ts';
import type { ProbeNetlink } from '../../../src/node/devices/kernel-probe.ts';

type Tunnel = LinkCreate['tunnel'];

function refusal(errno: string): KerseyError {
  const cause = Object.assign(new Error(errno), { code: errno });
  return new KerseyError('NETLINK', `cannot create the device: ${errno}`, { cause });
}

/** Refuses to make (`create`) or to set up (`up`) a tunnel with the errno that the test gives. */
class FakeKernel implements ProbeNetlink {
  readonly made: Tunnel[] = [];
  readonly present = new Map<string, Tunnel>();
  readonly #refuse: (tunnel: Tunnel, step: 'create' | 'up') => string | undefined;

  constructor(refuse: (tunnel: Tunnel, step: 'create' | 'up') => string | undefined = () => undefined) {
    this.#refuse = refuse;
  }

  createLink({ name, tunnel, mtu }: LinkCreate): Link {
    this.made.push(tunnel);
    this.#judge(tunnel, 'create');
    this.present.set(name, tunnel);
    return {
      ...{ index: 7, name, mtu, up: false, lowerUp: false, loopback: false, txQueueLen: 1000 },
      ...{ kind: tunnel.kind, parent: undefined, master: undefined, tunnel: undefined, mac: undefined },
      ...{ gsoMaxSize: undefined, gsoIpv4MaxSize: undefined },
    };
  }

  setLink({ name }: { readonly name: string }): void {
    const tunnel = this.present.get(name);
    if (tunnel === undefined) throw refusal('ENODEV');
    this.#judge(tunnel, 'up');
  }

  deleteLink({ name }: { readonly name: string }): void {
    this.present.delete(name);
  }

  #judge(tunnel: Tunnel, step: 'create' | 'up'): void {
    const errno = this.#refuse(tunnel, step);
    if (errno !== undefined) throw refusal(errno);
  }
}

const noModule = (): string => 'EOPNOTSUPP';
const dualStack = { EnableIPv6: true, IPv6Network: 'fd00:5::/48' };

function choose(
  wish: DataplaneWish,
  kernel: FakeKernel,
  type = 'vxlan',
  more: object = {},
): DataplaneChoice | KerseyError {
  const config = parseNetworkConfig({ Network: '10.5.0.0/16', Backend: { Type: type }, ...more });
  try {
    return chooseDataplane(wish, config, kernel);
  } catch (error) {
    return KerseyError.from(error);
  }
}

t.test('vxlan: the kernel where it can, the engine where it cannot', async (t) => {
  t.same(choose('auto', new FakeKernel()), { mode: 'kernel', why: 'this kernel makes vxlan devices' });
  t.same(choose('kernel', new FakeKernel()), {
    mode: 'kernel',
    why: 'kernel vxlan, as --dataplane kernel asks',
  });
  t.match(choose('auto', new FakeKernel(noModule)), {
    mode: 'engine',
    why: /^VXLAN in userspace, because this kernel makes no vxlan device: .*EOPNOTSUPP/,
  });
  t.match(choose('kernel', new FakeKernel(noModule)), {
    code: 'BACKEND_UNSUPPORTED',
    message: /^this kernel makes no vxlan device: .*EOPNOTSUPP/,
    remedy: /modprobe vxlan.*--dataplane engine/,
  });
});

t.test('the engine that is asked for needs no look at the kernel', async (t) => {
  const kernel = new FakeKernel(noModule);
  t.match(choose('engine', kernel), { mode: 'engine', why: /--dataplane engine/ });
  t.same(kernel.made, []);
});

t.test('a device that cannot be set up is none', async (t) => {
  const kernel = new FakeKernel((_, step) => (step === 'up' ? 'EAFNOSUPPORT' : undefined));
  t.match(choose('auto', kernel), { mode: 'engine', why: /EAFNOSUPPORT/ });
  t.equal(kernel.present.size, 0, 'and it does not stay');
});

t.test('every family that is enabled must be had', async (t) => {
  const localOf = (tunnel: Tunnel): string => tunnel.local ?? '';
  const four = new FakeKernel();
  t.match(choose('auto', four), { mode: 'kernel' });
  t.same(four.made.map(localOf), ['127.0.0.1']);
  const both = new FakeKernel();
  t.match(choose('auto', both, 'vxlan', dualStack), { mode: 'kernel' });
  t.same(both.made.map(localOf), ['127.0.0.1', '::1']);
  const without6 = new FakeKernel((tunnel) => (localOf(tunnel) === '::1' ? 'EAFNOSUPPORT' : undefined));
  t.match(choose('auto', without6, 'vxlan', dualStack), { mode: 'engine', why: /EAFNOSUPPORT/ });
  t.match(choose('kernel', without6, 'vxlan', dualStack), { code: 'BACKEND_UNSUPPORTED' });
  t.equal(without6.present.size, 0, 'nothing stays');
});

t.test('a port that is taken says nothing about the kernel', async (t) => {
  let taken = 3;
  const kernel = new FakeKernel((_, step) => (step === 'up' && taken-- > 0 ? 'EADDRINUSE' : undefined));
  t.match(choose('auto', kernel), { mode: 'kernel' });
  t.equal(kernel.made.length, 4, 'others were tried');
  t.equal(kernel.present.size, 0, 'nothing stays');
  const always = new FakeKernel(() => 'EADDRINUSE');
  t.match(choose('auto', always), { mode: 'engine', why: /EADDRINUSE/ });
  t.ok(always.made.length < 100, 'but not for ever');
});

t.test('the other backends have one dataplane each, or none', async (t) => {
  for (const [type, mode, others] of [
    ['udp', 'engine', ['kernel']],
    ['host-gw', 'kernel', ['engine']],
    ['wireguard', 'kernel', ['engine']],
    ['ipip', 'kernel', ['engine']],
  ] as const) {
    const kernel = new FakeKernel();
    for (const wish of dataplaneWishes) {
      const choice = choose(wish, kernel, type);
      if (others.some((other) => other === wish)) {
        t.match(
          choice,
          { code: 'BACKEND_UNSUPPORTED', message: `--dataplane ${wish} cannot be had: ` },
          type,
        );
      } else {
        t.match(choice, { mode }, `${type}, ${wish}`);
      }
    }
    t.equal(kernel.present.size, 0, `${type}: nothing stays`);
  }
  for (const wish of dataplaneWishes) {
    t.match(choose(wish, new FakeKernel(), 'alloc'), { mode: 'none' }, `alloc, ${wish}`);
  }
});

t.test('ipip without its module cannot be had at all', async (t) => {
  for (const wish of dataplaneWishes) {
    t.match(choose(wish, new FakeKernel(noModule), 'ipip'), {
      code: 'BACKEND_UNSUPPORTED',
      message: /EOPNOTSUPP/,
    });
  }
});
