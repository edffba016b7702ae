// What a plan says about commands of the operator.

/** Commands are in flannel's words: split at white space, `$NAME` replaced, no shell. */
export interface CommandsPlan {
  /** To be run once before any other. */
  readonly start?: { readonly command: string; readonly variables: CommandVariables };
  /** For a peer that is new or has changed. */
  readonly add?: string;
  /** For a peer that has gone. */
  readonly remove?: string;
  readonly peers: readonly CommandPeer[];
}

export interface CommandPeer {
  /** Its subnets: what it is told apart by. */
  readonly name: string;
  readonly outer: string;
  readonly variables: CommandVariables;
  /** For standard input. */
  readonly input: string;
}

/** SUBNET, PUBLIC_IP ... */
export type CommandVariables = Readonly<Record<string, string>>;
