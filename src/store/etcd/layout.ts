// Where flannel keeps things in etcd: `<prefix>/config`, and one key a lease under `<prefix>/subnets/`.

import path from 'node:path';

export interface Layout {
  readonly config: string;
  /** With the slash at its end. What follows it is a lease's key. */
  readonly subnets: string;
}

/** @param prefix flannel's --etcd-prefix; joined as Go's path.Join does it */
export function layoutOf(prefix: string): Layout {
  return {
    config: path.posix.join(prefix, 'config'),
    subnets: `${path.posix.join(prefix, 'subnets')}/`,
  };
}
