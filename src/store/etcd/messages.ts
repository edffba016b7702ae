// What kv.ts says, in etcd's messages, and back.
//
// Bytes that are not UTF-8 become U+FFFD: such a key is no key of ours, and whoever reads it refuses it.

import { create } from '@bufbuild/protobuf';
import {
  Compare_CompareResult as CompareResult,
  Compare_CompareTarget as CompareTarget,
  CompareSchema,
  DeleteRangeRequestSchema,
  Event_EventType as EventType,
  PutRequestSchema,
  RangeRequestSchema,
  RequestOpSchema,
} from './gen/etcd_pb.ts';
import type * as pb from './gen/etcd_pb.ts';
import type { Compare, KeyValue, Operation, WatchEvent } from './kv.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export function bytes(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Where and to where a prefix reaches; etcd's range ends are exclusive, and one zero byte stands for no end. */
export function rangeOf(prefix: string): { readonly key: Uint8Array; readonly rangeEnd: Uint8Array } {
  const key = bytes(prefix);
  const last = key.findLastIndex((byte) => byte < 0xff);
  if (last === -1) return { key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0) };
  const rangeEnd = key.slice(0, last + 1);
  rangeEnd[last] = (rangeEnd[last] ?? 0) + 1;
  return { key, rangeEnd };
}

export function rangeRequest(what: { readonly prefix: string } | { readonly key: string }): pb.RangeRequest {
  return create(RangeRequestSchema, 'prefix' in what ? rangeOf(what.prefix) : { key: bytes(what.key) });
}

export function compareMessage(compare: Compare): pb.Compare {
  if ('prefix' in compare) {
    // Holds for each key of the range; with no key at all etcd compares revision 0.
    return create(CompareSchema, {
      ...rangeOf(compare.prefix),
      target: CompareTarget.MOD,
      result: CompareResult.LESS,
      targetUnion: { case: 'modRevision', value: compare.unchangedSince + 1n },
    });
  }
  return create(CompareSchema, {
    key: bytes(compare.key),
    target: CompareTarget.MOD,
    result: CompareResult.EQUAL,
    targetUnion: { case: 'modRevision', value: compare.modRevision },
  });
}

export function operationMessage(operation: Operation): pb.RequestOp {
  switch (operation.kind) {
    case 'put': {
      const { key, value, lease = 0n } = operation;
      const request = create(PutRequestSchema, { key: bytes(key), value: bytes(value), lease });
      return create(RequestOpSchema, { request: { case: 'requestPut', value: request } });
    }
    case 'delete': {
      const request = create(DeleteRangeRequestSchema, { key: bytes(operation.key) });
      return create(RequestOpSchema, { request: { case: 'requestDeleteRange', value: request } });
    }
    case 'range':
      return create(RequestOpSchema, { request: { case: 'requestRange', value: rangeRequest(operation) } });
  }
}

export function keyValue(kv: pb.KeyValue): KeyValue {
  const { modRevision, createRevision, lease } = kv;
  return { key: decoder.decode(kv.key), value: decoder.decode(kv.value), modRevision, createRevision, lease };
}

export function watchEvents(events: readonly pb.Event[]): WatchEvent[] {
  return events.flatMap(({ type, kv }): WatchEvent[] => {
    if (kv === undefined) return [];
    if (type !== EventType.DELETE) return [{ kind: 'put', kv: keyValue(kv) }];
    return [{ kind: 'delete', key: decoder.decode(kv.key), modRevision: kv.modRevision }];
  });
}
