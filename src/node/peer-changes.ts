// Peers that come and go, for the log: one line a change of the table, however large.

import type { Plan } from '../backend/plan.ts';
import type { Log } from '../observe/log.ts';

/** How many peers a line names. */
const named = 5;

export function logPeerChanges(before: Plan, after: Plan, log: Log): void {
  const [old, now] = [peersOf(before), peersOf(after)];
  tell('joined', missing(now, old), now.size, log);
  tell('left', missing(old, now), now.size, log);
  const changed = [...now].filter(([prefix, peer]) => (old.get(prefix) ?? peer) !== peer);
  tell(
    'changed',
    changed.map(([, peer]) => peer),
    now.size,
    log,
  );
}

/** Prefix to what is told of the peer. */
function peersOf({ peers }: Plan): ReadonlyMap<string, string> {
  return new Map(
    peers.map(({ prefix, outer, detail }) => [
      prefix,
      `${prefix} at ${outer}${detail === undefined ? '' : ` (${detail})`}`,
    ]),
  );
}

function missing(from: ReadonlyMap<string, string>, other: ReadonlyMap<string, string>): readonly string[] {
  return [...from].filter(([prefix]) => !other.has(prefix)).map(([, peer]) => peer);
}

function tell(what: string, peers: readonly string[], total: number, log: Log): void {
  if (peers.length === 0) return;
  const rest = peers.length - named;
  const names = `${peers.slice(0, named).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
  log.info(`${peers.length === 1 ? 'a peer' : `${peers.length} peers`} ${what}: ${names}; now ${total}`, {
    peers: total,
  });
}
