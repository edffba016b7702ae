// How to get into an etcd: what an operator's options say, the endpoints aside.

export interface EtcdAccess {
  /** What the keys begin with; flannel's, `/coreos.com/network`, unless told. */
  readonly prefix?: string;
  /** Paths of PEM files. The authority alone is enough for TLS; without it the system's are trusted. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Both or neither. */
  readonly username?: string;
  readonly password?: string;
}
