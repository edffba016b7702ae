// What goes wrong with netlink, as a KerseyError that names the object, the kernel's words and the errno.
//
// The errno stays at hand for programs: the cause is an Error with `code`, as errnoName() of errors.ts wants it.

import { getSystemErrorName } from 'node:util';

import { errnoText, KerseyError } from '../errors.ts';
import { isNativeError } from '../native/binding.ts';
import type { Verdict } from './ack.ts';

class SystemError extends Error {
  readonly code: string;

  constructor(name: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = name;
  }
}

/** The kernel's refusal of a request. `what` completes "cannot ...". */
export function refusal(what: string, { errno, text }: Verdict): KerseyError {
  const name = getSystemErrorName(-errno);
  const cause = new SystemError(name, text ?? name);
  return explained(`cannot ${what}: ${words(cause)}`, cause);
}

/** Of an error made here: the kernel's words and the errno, without what was tried. `Unknown device type (EOPNOTSUPP)` */
export function kernelWords(error: KerseyError): string {
  return error.cause instanceof SystemError ? words(error.cause) : error.message;
}

function words(cause: SystemError): string {
  return cause.message === cause.code ? errnoText(cause) : `${cause.message} (${cause.code})`;
}

/** Makes a call of the native side, whose errors are those of the socket itself. */
export function attempt<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (!isNativeError(error)) throw error;
    const cause = new SystemError(error.errnoName, error.message, error);
    throw explained(`cannot ${what}: ${errnoText(cause)}`, cause);
  }
}

function explained(message: string, cause: SystemError): KerseyError {
  const remedy = remedies[cause.code];
  if (cause.code === 'EPERM' || cause.code === 'EACCES') {
    return new KerseyError('PERMISSION', message, { remedy: 'run as root or with CAP_NET_ADMIN', cause });
  }
  return new KerseyError('NETLINK', message, {
    remedy: remedy ?? 'compare with `ip -d link` and `ip route`',
    cause,
  });
}

const remedies: Readonly<Record<string, string>> = {
  ENODEV: 'see `ip link` for the devices there are',
  EBUSY: 'see who uses it with `ip -d link`',
  EADDRNOTAVAIL: 'see `ip address` for the addresses there are',
  EAGAIN: 'try again: the tables changed faster than they could be read',
  ENOBUFS: 'raise net.core.rmem_max',
};
