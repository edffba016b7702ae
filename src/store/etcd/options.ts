// Where etcd is and who we are to it: endpoints as operators write them, certificates, a user.
//
// flannel's rules: `https://` means TLS and anything else plain TCP; a client certificate is shown when both its files
// are named; a user logs in when name and password are both there. Other than flannel: each endpoint goes by its own
// scheme, not by the first one's, and an authority alone (no client certificate) is used.
//
// The files are read again when a connection fails, so that renewed certificates need no restart.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import type { ChannelCredentials } from '@grpc/grpc-js';
import { errnoText, KerseyError, oneLine } from '../../errors.ts';

export interface EtcdTls {
  /** Paths of PEM files. Without an authority the system's are trusted. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface EtcdOptions {
  /** `http://10.0.0.1:2379`, `https://[fd00::1]:2379`, `etcd.example:2379` */
  readonly endpoints: readonly string[];
  readonly tls?: EtcdTls;
  readonly username?: string;
  readonly password?: string;
  readonly timing?: Partial<EtcdTiming>;
}

/** All in milliseconds. */
export interface EtcdTiming {
  /** For a call with all its attempts. */
  readonly call: number;
  /** For one endpoint to answer, before the next is asked. At least three fit into a call. */
  readonly attempt: number;
  /** A watch that has heard nothing for so long asks whether somebody is there, */
  readonly probe: number;
  /** and goes elsewhere when it has heard nothing for so long. */
  readonly silence: number;
  readonly backoffFrom: number;
  readonly backoffTo: number;
}

export const defaultTiming: EtcdTiming = {
  call: 10_000,
  attempt: 2500,
  probe: 2000,
  silence: 5000,
  backoffFrom: 100,
  backoffTo: 5000,
};

export interface EndpointAddress {
  /** As the operator may read it in a message. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
}

/** @throws KerseyError USAGE */
export function parseEndpoint(text: string): EndpointAddress {
  const match = /^(?:(https?):\/\/)?(\[[0-9a-f:.%]+\]|[^\s:/@?#[\]]+)(?::([0-9]{1,5}))?\/?$/i.exec(
    text.trim(),
  );
  const [, scheme = 'http', host, digits = '2379'] = match ?? [];
  const port = Number(digits);
  if (host === undefined || port < 1 || port > 65_535) {
    // What stands before an @ may be a password.
    const shown = oneLine(text.replace(/^(.*\/\/)?.*@/s, '$1...@'));
    throw new KerseyError('USAGE', `'${shown}' is not an endpoint of etcd`, {
      remedy: 'write http://HOST:PORT or https://HOST:PORT, and the user by its own options',
    });
  }
  const secure = scheme.toLowerCase() === 'https';
  return { name: `${secure ? 'https' : 'http'}://${host}:${port}`, host, port, secure };
}

export interface LoadedCredentials {
  readonly channel: ChannelCredentials;
  /** Other files, other fingerprint. */
  readonly fingerprint: string;
}

/**
 * How to speak to an endpoint.
 *
 * @throws KerseyError USAGE when a file cannot be read or is not what it should be
 */
export function loadCredentials({ secure, host }: EndpointAddress, tls: EtcdTls = {}): LoadedCredentials {
  if (!secure) return { channel: credentials.createInsecure(), fingerprint: '' };
  const own = tls.cert !== undefined && tls.key !== undefined ? { cert: tls.cert, key: tls.key } : undefined;
  const ca = tls.ca === undefined ? systemAuthorities() : read(tls.ca, 'the authority of etcd');
  const cert = own && read(own.cert, 'the client certificate for etcd');
  const key = own && read(own.key, 'the client key for etcd');
  try {
    const address = host.replace(/^\[|\]$/g, '');
    // An address is no TLS server name (RFC 6066), and `serverName` puts another in its place; what the certificate
    // must be for is still the address.
    const verify = isIP(address) === 0 ? {} : { checkServerIdentity: addressCheck(address) };
    return {
      channel: credentials.createSsl(ca, key ?? null, cert ?? null, verify),
      fingerprint: fingerprintOf([ca, key, cert]),
    };
  } catch (cause) {
    const files = [tls.ca, own?.cert, own?.key].filter((file) => file !== undefined).join(', ');
    throw new KerseyError('USAGE', `the certificates for etcd do not work (${files}): ${errnoText(cause)}`, {
      remedy: 'give PEM files, the key without a passphrase and belonging to the certificate',
      cause,
    });
  }
}

/** What to send as TLS server name instead of an address; undefined for hosts with a name. */
export function serverName({ host }: EndpointAddress): string | undefined {
  return isIP(host.replace(/^\[|\]$/g, '')) === 0 ? undefined : 'etcd';
}

function fingerprintOf(files: readonly (Buffer | null | undefined)[]): string {
  const hashes = files.map((file) => (file ? createHash('sha256').update(file).digest('hex') : ''));
  return hashes.join(' ');
}

function addressCheck(address: string): typeof checkServerIdentity {
  return (_serverName, cert) => checkServerIdentity(address, cert);
}

function read(file: string, what: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new KerseyError('USAGE', `${what}, ${file}, cannot be read: ${errnoText(cause)}`, {
      remedy: 'name a PEM file that exists and that Kersey may read',
      cause,
    });
  }
}

/** The bundle that Go programs such as flannel use; null lets Node take its own. */
function systemAuthorities(): Buffer | null {
  const bundles = [
    '/etc/ssl/certs/ca-certificates.crt',
    '/etc/pki/tls/certs/ca-bundle.crt',
    '/etc/ssl/cert.pem',
  ];
  const named = process.env['SSL_CERT_FILE'];
  for (const file of named === undefined ? bundles : [named]) {
    try {
      return readFileSync(file);
    } catch {
      // The next one.
    }
  }
  return null;
}
