// What opening the engine reports: each step and errno becomes a code, an object and a remedy.

import t from 'tap';
import { engineError } from '../../../src/engine/engine-error.ts';
import type { ErrorCode } from '../../../src/errors.ts';

const objects = { device: 'flannel.1', local: '192.0.2.1', port: 8472 };

const nativeError = (step: string, errnoName: string): Error =>
  Object.assign(new Error(`${step}: ${errnoName}`), { step, errno: 1, errnoName });

const cases: readonly (readonly [step: string, errno: string, code: ErrorCode, names: string])[] = [
  ['tun-open', 'ENOENT', 'TUN_MISSING', '/dev/net/tun'],
  ['tun-open', 'ENODEV', 'TUN_MISSING', '/dev/net/tun'],
  ['tun-open', 'EACCES', 'PERMISSION', '/dev/net/tun'],
  ['tun-open', 'EPERM', 'PERMISSION', '/dev/net/tun'],
  ['tun-name', 'EPERM', 'PERMISSION', 'flannel.1'],
  ['tun-name', 'EBUSY', 'DEVICE_TAKEN', 'flannel.1'],
  ['tun-name', 'EINVAL', 'DEVICE_TAKEN', 'flannel.1'],
  ['udp-bind', 'EADDRINUSE', 'PORT_IN_USE', '192.0.2.1:8472'],
  ['udp-bind', 'EADDRNOTAVAIL', 'ADDRESS_NOT_LOCAL', '192.0.2.1'],
  ['udp-bind', 'EACCES', 'PERMISSION', '192.0.2.1:8472'],
  ['memory', 'ENOMEM', 'ENGINE_FAILED', 'flannel.1'],
  ['thread', 'EAGAIN', 'ENGINE_FAILED', 'flannel.1'],
];

for (const [step, errno, code, names] of cases) {
  t.test(`${step} ${errno} is ${code}`, (t) => {
    const error = engineError(nativeError(step, errno), objects);
    t.equal(error.code, code);
    t.match(error.message, names, 'the message names the object');
    t.not(error.remedy, '', 'there is a remedy');
    t.ok(error.cause instanceof Error, 'the cause is kept');
    t.end();
  });
}

t.test('an IPv6 endpoint is written in brackets', (t) => {
  const error = engineError(nativeError('udp-bind', 'EADDRINUSE'), { ...objects, local: 'fd00::1' });
  t.match(error.message, '[fd00::1]:8472');
  t.end();
});

t.test('what did not come from the engine is passed on', (t) => {
  t.equal(engineError(new TypeError('x'), objects).code, 'INTERNAL');
  t.end();
});
