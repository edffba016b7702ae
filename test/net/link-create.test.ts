// Devices that are made by kind and name, with iproute2 as the second opinion.

import { execFileSync } from 'node:child_process';
import t from 'tap';

import { errnoName, KerseyError } from '../../src/errors.ts';
import { createLink } from '../../src/netlink/link-create.ts';
import { inOwnNetns } from '../lib/own-netns.ts';

function kindOf(name: string): string | undefined {
  const text = execFileSync('ip', ['-d', '-j', 'link', 'show', name], { encoding: 'utf8' });
  const [link] = JSON.parse(text) as readonly { readonly linkinfo?: { readonly info_kind: string } }[];
  return link?.linkinfo?.info_kind;
}

function refused(name: string, kind: string): string | undefined {
  try {
    createLink(name, kind);
    return undefined;
  } catch (error) {
    if (!(error instanceof KerseyError)) throw error;
    return errnoName(error.cause);
  }
}

if (inOwnNetns(import.meta.filename)) {
  t.test('a device of a kind', (t) => {
    createLink('br7', 'bridge');
    t.equal(kindOf('br7'), 'bridge');
    t.equal(refused('br7', 'bridge'), 'EEXIST', 'none is replaced');
    t.equal(refused('x7', 'no-such-kind'), 'ENOTSUP');
    t.end();
  });

  t.test('a wireguard device, where the kernel has them', (t) => {
    const errno = refused('wg7', 'wireguard');
    if (errno === undefined) t.equal(kindOf('wg7'), 'wireguard');
    else t.pass('a wireguard device', { skip: `the kernel answers ${errno}` });
    t.end();
  });
}
