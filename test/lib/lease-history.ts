// The referee of subnets: reads everything that ever happened below a prefix, as etcdctl tells it, and looks for a
// moment at which an address had two owners. Shares no code with what it judges.
//
// Words: an "overwrite" is a put that replaces a live key of another owner; an "overlap" is two live keys of different
// owners that share addresses.

import { spawn } from 'node:child_process';
import { once } from 'node:events';

import { awaitCondition } from '../../src/lab/condition.ts';
import type { EtcdCluster } from './etcd-server.ts';

export interface Verdict {
  /** Keys that came to be. */
  readonly made: number;
  /** Puts on keys that were live. */
  readonly renewed: number;
  readonly removed: number;
  readonly mostAlive: number;
  readonly overwrites: readonly string[];
  readonly overlaps: readonly string[];
}

interface Live {
  readonly owner: string;
  readonly from: number;
  readonly to: number;
}

export interface WatchResponse {
  readonly Header: { readonly revision: number };
  readonly Events?: readonly {
    readonly type?: number | string;
    readonly kv: { readonly key: string; readonly value?: string; readonly mod_revision: number };
  }[];
}

/** Judges the history below `prefix` from the first revision to now. Nothing may be compacted. */
export async function judgeHistory(cluster: EtcdCluster, prefix: string): Promise<Verdict> {
  // A mark at the end: when it is heard everything before it was.
  const mark = `${prefix}~end-of-history`;
  await cluster.ctl(['put', mark, 'end']);
  const { endpoint } = cluster.first;
  const argv = [`--endpoints=${endpoint}`, 'watch', '--rev=1', '--prefix', prefix, '-w', 'json'];
  const environment = { PATH: process.env['PATH'], ETCDCTL_API: '3' };
  const watch = spawn('etcdctl', argv, { env: environment, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(watch, 'exit');
  let said = '';
  watch.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const marked = Buffer.from(mark).toString('base64');
  try {
    await awaitCondition('the end of the history', () => whole(said).includes(marked), {
      timeoutMs: 60_000,
      intervalMs: 200,
    });
  } finally {
    watch.kill('SIGTERM');
    await ended;
  }
  const responses = whole(said)
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as WatchResponse);
  return judge(responses, prefix, mark);
}

/** The lines that are complete: one response may be many megabytes. */
function whole(text: string): string {
  return text.slice(0, text.lastIndexOf('\n') + 1);
}

export function judge(responses: readonly WatchResponse[], prefix: string, mark: string): Verdict {
  const live = new Map<string, Live>();
  const overwrites: string[] = [];
  const overlaps: string[] = [];
  let [made, renewed, removed, mostAlive] = [0, 0, 0, 0];
  for (const { Events = [] } of responses) {
    for (const { type = 0, kv } of Events) {
      const key = Buffer.from(kv.key, 'base64').toString();
      if (key === mark) continue;
      if (type === 1 || type === 'DELETE') {
        live.delete(key);
        removed++;
        continue;
      }
      const { PublicIP: owner } = JSON.parse(Buffer.from(kv.value ?? '', 'base64').toString()) as {
        PublicIP: string;
      };
      const before = live.get(key);
      if (before !== undefined && before.owner !== owner) {
        overwrites.push(`revision ${kv.mod_revision}: ${key} of ${before.owner} became ${owner}'s`);
      }
      const range = rangeOf(key.slice(prefix.length));
      for (const [other, { owner: holder, from, to }] of live) {
        if (other !== key && holder !== owner && from <= range.to && range.from <= to) {
          overlaps.push(`revision ${kv.mod_revision}: ${key} of ${owner} and ${other} of ${holder}`);
        }
      }
      if (before === undefined) made++;
      else renewed++;
      live.set(key, { owner, ...range });
      mostAlive = Math.max(mostAlive, live.size);
    }
  }
  return { made, renewed, removed, mostAlive, overwrites, overlaps };
}

function rangeOf(key: string): { readonly from: number; readonly to: number } {
  const [, a = '', b = '', c = '', d = '', length = ''] =
    /^(\d+)\.(\d+)\.(\d+)\.(\d+)-(\d+)$/.exec(key) ?? [];
  if (length === '') throw new Error(`the referee does not know the key ${key}`);
  const from = ((Number(a) * 256 + Number(b)) * 256 + Number(c)) * 256 + Number(d);
  return { from, to: from + 2 ** (32 - Number(length)) - 1 };
}
