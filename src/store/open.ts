// Which store a `--store` value means.

import path from 'node:path';
import { KerseyError } from '../errors.ts';
import { native } from '../native/loader.ts';
import type { StoreAdmin } from './admin.ts';
import type { EtcdAccess } from './etcd/access.ts';
import { LazyKv } from './etcd/lazy.ts';
import { EtcdStore } from './etcd/store.ts';
import { FileAdmin } from './file/file-admin.ts';
import { FileStore } from './file/file-store.ts';
import type { FileStoreOptions } from './file/file-store.ts';
import type { Lock } from './file/lock.ts';
import type { SubnetManager } from './subnet-manager.ts';

const remedy = 'write file:PATH, such as file:/etc/kersey/network.json, or etcd:http://HOST:2379,...';

/** flock(2) of the native library, which is loaded when a lock is first asked for. */
export const nativeLock: Lock = { tryLock: (fd) => native().tryLock(fd) };

export interface StoreOptions extends Partial<FileStoreOptions> {
  readonly etcd?: EtcdAccess;
  /** Where a start finds the last known state of an etcd that is away; undefined keeps none. */
  readonly stateDir?: string;
  /** How long before its end a lease in etcd is renewed, in minutes. */
  readonly renewMargin?: number;
}

type Place =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'etcd'; readonly endpoints: readonly string[] };

/**
 * @param store `file:PATH` or `etcd:URL,URL...`
 * @throws KerseyError USAGE
 */
export function openStore(store: string, options: StoreOptions = {}): SubnetManager {
  const place = placeOf(store, options);
  switch (place.kind) {
    case 'file':
      return new FileStore(place.path, { lock: nativeLock, ...options });
    case 'etcd':
      return openEtcd(place.endpoints, options);
  }
}

/** The operator's side of it. @throws KerseyError USAGE */
export function openAdmin(store: string, options: StoreOptions = {}): StoreAdmin {
  const place = placeOf(store, options);
  switch (place.kind) {
    case 'file':
      return new FileAdmin(place.path, { lock: nativeLock, ...options });
    case 'etcd':
      return openEtcd(place.endpoints, options);
  }
}

function openEtcd(endpoints: readonly string[], options: StoreOptions): EtcdStore {
  const { etcd: { prefix, username, password, ...tls } = {}, stateDir, renewMargin } = options;
  const kv = new LazyKv(async () => {
    const { EtcdClient } = await import('./etcd/client.ts');
    return new EtcdClient({
      endpoints,
      tls,
      ...(username !== undefined && password !== undefined && { username, password }),
    });
  });
  return new EtcdStore(kv, {
    description: `etcd:${endpoints.join(',')}`,
    endpoints,
    stateDir,
    ...(prefix !== undefined && { prefix }),
    ...(renewMargin !== undefined && { renewMargin }),
  });
}

function placeOf(store: string, { etcd = {} }: StoreOptions): Place {
  const [, scheme, rest = ''] = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(store) ?? [];
  switch (scheme?.toLowerCase()) {
    case undefined:
      throw usage(`the store '${store}' does not say which kind it is`);
    case 'file':
      if (rest === '' || rest.includes('\0')) throw usage(`the store '${store}' does not name a file`);
      if (Object.keys(etcd).length > 0) {
        const problem = `the store '${store}' is a file, and there are options for etcd`;
        throw new KerseyError('USAGE', problem, { remedy: 'leave the --etcd-... options out' });
      }
      return { kind: 'file', path: path.resolve(rest) };
    case 'etcd':
      return { kind: 'etcd', endpoints: endpointsOf(rest) };
    default:
      throw usage(`'${scheme ?? ''}:' is not a kind of store; there are file: and etcd:`);
  }
}

/** A comma list, as flannel's --etcd-endpoints takes it. The client looks at each when it connects. */
function endpointsOf(list: string): readonly string[] {
  const endpoints = list.split(',').flatMap((text) => (text.trim() === '' ? [] : [text.trim()]));
  if (endpoints.length === 0) throw usage('no endpoint of etcd is given');
  // Endpoints are shown in the status and in the log.
  if (list.includes('@')) {
    throw new KerseyError('USAGE', 'an endpoint of etcd has a user in it', {
      remedy: 'give user and password by the options for them',
    });
  }
  return endpoints;
}

function usage(problem: string): KerseyError {
  return new KerseyError('USAGE', problem, { remedy });
}
