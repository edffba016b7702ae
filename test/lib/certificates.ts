// An authority, a certificate for a server on 127.0.0.1 and one for a client, made by openssl when a test asks.

import path from 'node:path';

import { run } from '../../src/lab/command.ts';

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** Paths of PEM files. */
export interface Certificates {
  readonly ca: string;
  readonly server: Certificate;
  readonly client: Certificate;
}

/** @param directory where the files go; their names begin with `prefix` */
export async function makeCertificates(directory: string, prefix = ''): Promise<Certificates> {
  const file = (name: string): string => path.join(directory, `${prefix}${name}`);
  const pair = (name: string): Certificate => ({ cert: file(`${name}.pem`), key: file(`${name}.key`) });
  const ca = pair('ca');
  const make = async ({ cert, key }: Certificate, name: string, more: readonly string[]): Promise<void> => {
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key];
    await run([
      'openssl',
      'req',
      '-x509',
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
      ...newKey,
      '-out',
      cert,
      ...more,
    ]);
  };
  const issued = ['-CA', ca.cert, '-CAkey', ca.key, '-addext', 'basicConstraints=critical,CA:false'];
  // etcd's own gateway uses the server's certificate as a client.
  const server = [
    '-addext',
    'subjectAltName=IP:127.0.0.1,DNS:localhost',
    '-addext',
    'extendedKeyUsage=serverAuth,clientAuth',
  ];
  await make(ca, `${prefix}authority`, []);
  await make(pair('server'), 'server', [...issued, ...server]);
  await make(pair('client'), 'client', [...issued, '-addext', 'extendedKeyUsage=clientAuth']);
  return { ca: ca.cert, server: pair('server'), client: pair('client') };
}
