import { KerseyError } from '../errors.ts';
import { isNativeError, type NativeError } from '../native/binding.ts';

/** What the error texts name. */
export interface EngineObjects {
  readonly device: string;
  readonly local: string;
  readonly port: number;
}

/** Turns what opening an engine threw into the error that names the object and the remedy. */
export function engineError(thrown: unknown, objects: EngineObjects): KerseyError {
  if (!isNativeError(thrown)) return KerseyError.from(thrown);
  return explain(thrown, objects) ?? unexplained(thrown, objects);
}

function explain(error: NativeError, { device, local, port }: EngineObjects): KerseyError | undefined {
  const { step, errnoName: errno } = error;
  const endpoint = local.includes(':') ? `[${local}]:${String(port)}` : `${local}:${String(port)}`;
  switch (step) {
    case 'tun-open':
      if (errno === 'EACCES' || errno === 'EPERM') {
        return new KerseyError('PERMISSION', `/dev/net/tun: ${errno}`, {
          remedy: 'run as root, and in a container allow the device (c 10:200 rwm)',
          cause: error,
        });
      }
      return new KerseyError('TUN_MISSING', `/dev/net/tun cannot be opened (${errno})`, {
        remedy:
          'load the module with `modprobe tun`, or make it: mkdir -p /dev/net && mknod /dev/net/tun c 10 200',
        cause: error,
      });
    case 'tun-name':
      if (errno === 'EPERM') {
        return new KerseyError('PERMISSION', `no right to create the device ${device}`, {
          remedy: 'run as root or with CAP_NET_ADMIN',
          cause: error,
        });
      }
      if (errno === 'EBUSY' || errno === 'EINVAL' || errno === 'EEXIST') {
        return new KerseyError('DEVICE_TAKEN', `a network device named ${device} exists already`, {
          remedy: `stop what made it (another daemon, flannel), or remove it: ip link delete ${device}`,
          cause: error,
        });
      }
      return undefined;
    case 'udp-bind':
      if (errno === 'EADDRINUSE') {
        return new KerseyError('PORT_IN_USE', `UDP port ${endpoint} is taken`, {
          remedy: `see who has it: ss -ulnp sport = ${String(port)}; a kernel vxlan device shows no process (ip -d link show type vxlan)`,
          cause: error,
        });
      }
      if (errno === 'EADDRNOTAVAIL') {
        return new KerseyError('ADDRESS_NOT_LOCAL', `${local} is not an address of this host`, {
          remedy: 'choose another with --iface or --public-ip; `ip address` lists them',
          cause: error,
        });
      }
      if (errno === 'EACCES') {
        return new KerseyError('PERMISSION', `no right to bind UDP port ${endpoint}`, {
          remedy: 'run as root, or choose a port above 1023',
          cause: error,
        });
      }
      return undefined;
    default:
      return undefined;
  }
}

function unexplained(error: NativeError, { device }: EngineObjects): KerseyError {
  return new KerseyError('ENGINE_FAILED', `the engine for ${device} did not start: ${error.message}`, {
    remedy: 'try with features switched off (--disable), and report this',
    cause: error,
  });
}
