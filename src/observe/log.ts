// What a daemon writes while it runs: one line for each change of state, none for a packet.
//
// A message says it in words; fields carry the objects for machines. How lines look is the business of whoever makes
// the Log.

export type LogFields = Readonly<Record<string, string | number | boolean>>;

export interface Log {
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}
