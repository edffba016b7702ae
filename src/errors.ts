// The one error class of Kersey.
//
// A KerseyError is what an operator gets to see: a stable code to search for, a message that names the object that
// is wrong, and the remedy. It prints as one line, `CODE: message; remedy`. Whatever else is thrown is a mistake of
// ours and becomes INTERNAL at the edge.

import { getSystemErrorMap } from 'node:util';

/**
 * Every code there is. Codes are an interface: scripts match them and the documentation is generated from this list,
 * so a code is never renamed and never reused for something else.
 */
export const errorCodes = [
  { code: 'USAGE', meaning: 'The command line is wrong: an unknown flag, a missing or malformed value.' },
  {
    code: 'ADDRESS_INVALID',
    meaning: 'A text that should be an IP address, a subnet or a MAC address is not one.',
  },
  {
    code: 'CONFIG_INVALID',
    meaning: 'The network configuration is malformed, out of range or contradicts itself.',
  },
  {
    code: 'CONFIG_MISSING',
    meaning: 'The store answers, but nobody has written the network configuration yet.',
  },
  {
    code: 'CONFIG_EXISTS',
    meaning: 'The store has a network configuration already, and a new one would replace it.',
  },
  { code: 'CONFIG_NETWORK_MISSING', meaning: 'The network configuration does not say which Network to use.' },
  {
    code: 'BACKEND_UNSUPPORTED',
    meaning: 'The network configuration asks for a backend, or a part of one, that is not offered.',
  },
  { code: 'STORE_MISSING', meaning: 'The store does not exist.' },
  { code: 'STORE_UNREADABLE', meaning: 'The store exists but cannot be read.' },
  { code: 'STORE_UNWRITABLE', meaning: 'The store cannot be written; its old content is untouched.' },
  {
    code: 'STORE_MALFORMED',
    meaning: 'The store does not hold what it should: cut off, not JSON, wrong types.',
  },
  { code: 'STORE_UNREACHABLE', meaning: 'No endpoint of the store answers in time.' },
  { code: 'STORE_REFUSED', meaning: 'The store answered, and refused: credentials, rights, a limit.' },
  {
    code: 'STORE_UNCERTAIN',
    meaning: 'A write was sent to the store and no answer came: it may have been done, or not.',
  },
  { code: 'STORE_CONFLICT', meaning: 'Somebody else changed the same entry of the store meanwhile.' },
  { code: 'STORE_LOCKED', meaning: 'Another process holds the lock of the store and does not give it back.' },
  { code: 'STORE_CLOSED', meaning: 'The store was used after it was closed.' },
  { code: 'LEASE_MISSING', meaning: 'The store has no lease of that subnet.' },
  { code: 'SUBNETS_EXHAUSTED', meaning: 'Every subnet of the network is taken.' },
  { code: 'SUBNET_OVERLAP', meaning: 'Two leases, or a lease and a network of this host, share addresses.' },
  { code: 'TUN_MISSING', meaning: '/dev/net/tun is missing or cannot be used, so no device can be made.' },
  { code: 'PERMISSION', meaning: 'The kernel refused: a capability or a file permission is missing.' },
  {
    code: 'PORT_IN_USE',
    meaning: 'Another socket already has the port, the UDP port of VXLAN or that of /healthz.',
  },
  { code: 'DEVICE_TAKEN', meaning: 'A network device of that name exists and is not ours.' },
  { code: 'MTU_TOO_SMALL', meaning: 'The underlay leaves too little room for packets inside the tunnel.' },
  { code: 'IFACE_NOT_FOUND', meaning: 'No network interface fits what was asked for.' },
  {
    code: 'ADDRESS_NOT_LOCAL',
    meaning: 'An address that this host should have is not on any of its interfaces.',
  },
  { code: 'NATIVE_MISSING', meaning: 'The native part of Kersey is not built for this machine.' },
  { code: 'ENGINE_FAILED', meaning: 'The packet engine could not start or stopped by itself.' },
  { code: 'NETLINK', meaning: 'The kernel refused a change of devices, addresses or routes.' },
  {
    code: 'FILE_UNWRITABLE',
    meaning: 'A file that Kersey writes for others (subnet.env, a report) could not be written.',
  },
  { code: 'DAEMON_NOT_RUNNING', meaning: 'No daemon answers here.' },
  { code: 'DAEMON_RUNNING', meaning: 'A daemon already runs here.' },
  { code: 'TOOL_MISSING', meaning: 'A program that this command runs is not installed.' },
  { code: 'FIREWALL', meaning: 'The firewall rules could not be made, or nothing on this host makes any.' },
  { code: 'COMMAND_FAILED', meaning: 'A program that this command ran reported an error.' },
  { code: 'TIMEOUT', meaning: 'Something did not happen in time.' },
  { code: 'INTERRUPTED', meaning: 'Stopped before it was done.' },
  { code: 'INTERNAL', meaning: 'A mistake in Kersey itself.' },
] as const;

export type ErrorCode = (typeof errorCodes)[number]['code'];

export interface ErrorOptions {
  /** What to do about it, in the imperative. */
  readonly remedy?: string;
  readonly cause?: unknown;
}

export class KerseyError extends Error {
  override readonly name = 'KerseyError';
  readonly code: ErrorCode;
  /** Empty when there is nothing to advise. */
  readonly remedy: string;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.remedy = options.remedy ?? '';
  }

  /** Any thrown value as a KerseyError; one that is one already comes back as it is. */
  static from(thrown: unknown): KerseyError {
    if (thrown instanceof KerseyError) return thrown;
    if (!(thrown instanceof Error)) return new KerseyError('INTERNAL', String(thrown), { cause: thrown });
    if (thrown.name === 'AbortError')
      return new KerseyError('INTERRUPTED', thrown.message, { cause: thrown });
    const errno = errnoName(thrown);
    if (errno === 'EACCES' || errno === 'EPERM') {
      return new KerseyError('PERMISSION', thrown.message, { remedy: 'run as root', cause: thrown });
    }
    return new KerseyError('INTERNAL', `${thrown.name}: ${thrown.message}`, {
      remedy: 'please report this, with the command and its output',
      cause: thrown,
    });
  }

  /** `CODE: message; remedy`, always one line: text from files and from other programs cannot break it. */
  get line(): string {
    return oneLine(`${this.code}: ${this.message}${this.remedy === '' ? '' : `; ${this.remedy}`}`);
  }

  /** For `-o json`. */
  toJSON(): { code: ErrorCode; message: string; remedy: string } {
    return { code: this.code, message: this.message, remedy: this.remedy };
  }
}

/** `ENOENT` and the like, of an error that a system call raised in Node or in our native library. */
export function errnoName(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error)) return undefined;
  const name = 'errnoName' in thrown ? thrown.errnoName : 'code' in thrown ? thrown.code : undefined;
  return typeof name === 'string' && /^E[A-Z0-9]+$/.test(name) ? name : undefined;
}

/** `no such file or directory (ENOENT)`: the reason of a failed system call, without Node's own wording around it. */
export function errnoText(thrown: unknown): string {
  const name = errnoName(thrown);
  if (name === undefined) return thrown instanceof Error ? thrown.message : String(thrown);
  for (const [known, text] of getSystemErrorMap().values()) {
    if (known === name) return `${text} (${name})`;
  }
  return name;
}

/** Control and direction characters escaped, so that the text stays on one line and cannot steer a terminal. */
export function oneLine(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    const escaped = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }[character];
    return escaped ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}
