// The Log of a daemon, on stderr: words and a time for a terminal, key=value for a file or the journal, or JSON lines.

import { styleText } from 'node:util';
import { pino } from 'pino';

import { oneLine } from '../errors.ts';
import type { Log, LogFields } from '../observe/log.ts';

type Level = keyof Log;

export function daemonLog(output: 'text' | 'json'): Log {
  // Nobody reads any more; that is no reason to stop forwarding.
  process.stderr.on('error', () => undefined);
  if (output === 'json') return jsonLog();
  return lineLog(process.stderr.isTTY ? forTerminal : forFile);
}

function jsonLog(): Log {
  const logger = pino(
    {
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ fd: 2, sync: true }),
  );
  const at =
    (level: Level) =>
    (message: string, fields: LogFields = {}): void => {
      logger[level](fields, message);
    };
  return { info: at('info'), warn: at('warn'), error: at('error') };
}

function lineLog(line: (level: Level, message: string, fields: LogFields) => string): Log {
  const at =
    (level: Level) =>
    (message: string, fields: LogFields = {}): void => {
      process.stderr.write(`${line(level, message, fields)}\n`);
    };
  return { info: at('info'), warn: at('warn'), error: at('error') };
}

/** The fields are for machines; the message has it in words. */
function forTerminal(level: Level, message: string): string {
  const time = new Date().toTimeString().slice(0, 8);
  const text = oneLine(message);
  if (!process.stderr.hasColors() || level === 'info') return `${time} ${text}`;
  return `${time} ${styleText(level === 'warn' ? 'yellow' : 'red', text, { validateStream: false })}`;
}

function forFile(level: Level, message: string, fields: LogFields): string {
  const pairs: LogFields = { time: new Date().toISOString(), level, msg: message, ...fields };
  return Object.entries(pairs)
    .map(([key, value]) => `${key}=${quoted(String(value))}`)
    .join(' ');
}

function quoted(text: string): string {
  return /^[\w.:/+-]+$/.test(text) ? text : JSON.stringify(oneLine(text));
}
