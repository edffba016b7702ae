// The Backend member of the network configuration: flannel's keys and defaults, for every backend that is offered.

import * as v from 'valibot';
import type { Family } from '../net/ip.ts';
import { flag, show, wholeNumber } from './fields.ts';
import type { FieldReader } from './fields.ts';
import type { JsonValue } from './json.ts';

export type BackendConfig =
  VxlanConfig | UdpConfig | HostGwConfig | IpipConfig | WireguardConfig | ExtensionConfig | AllocConfig;

export type BackendType = BackendConfig['type'];

export interface VxlanConfig {
  readonly type: 'vxlan';
  readonly vni: number;
  readonly port: number;
  /** MTU of the underlay, instead of that of the external interface. */
  readonly mtu?: number;
  /** Peers on our own link are reached by a route to them, without VXLAN. */
  readonly directRouting: boolean;
  readonly gbp: boolean;
  readonly learning: boolean;
}

export interface UdpConfig {
  readonly type: 'udp';
  readonly port: number;
}

export interface HostGwConfig {
  readonly type: 'host-gw';
}

export interface IpipConfig {
  readonly type: 'ipip';
  readonly directRouting: boolean;
}

/** `separate`: a device and a tunnel for each family. Else one device, over IPv4, IPv6 or whichever a peer offers. */
export type WireguardMode = 'separate' | 'auto' | 'ipv4' | 'ipv6';

export interface WireguardConfig {
  readonly type: 'wireguard';
  readonly listenPort: number;
  readonly listenPortV6: number;
  readonly mtu?: number;
  readonly psk?: string;
  /** In seconds; 0 is off. */
  readonly keepalive: number;
  readonly mode: WireguardMode;
}

export interface ExtensionConfig {
  readonly type: 'extension';
  readonly preStartup?: string;
  readonly postStartup?: string;
  readonly subnetAdd?: string;
  readonly subnetRemove?: string;
}

export interface AllocConfig {
  readonly type: 'alloc';
}

/** What the kernel uses when flannel gives it no port. */
export const defaultVxlanPort = 8472;

/** What VXLAN adds on an IPv4 underlay and on an IPv6 one: IP, UDP, VXLAN and the inner Ethernet header. */
export const vxlanOverhead = { 4: 50, 6: 70 } as const;

/** Every IPv4 host takes packets this large (RFC 791); every IPv6 link carries packets this large (RFC 8200). */
export const leastMtu = { 4: 576, 6: 1280 } as const;

const typeSchema = v.object({ Type: v.nullish(v.string('a text such as "vxlan"')) });

const underlayMtu = v.nullish(wholeNumber(1, 65535));
const command = v.nullish(v.string('a command'));
const port = wholeNumber(0, 65535);

const vxlanSchema = v.object({
  // The kernel takes VNI 0, and so does flannel.
  VNI: v.nullish(wholeNumber(0, 0xffffff), 1),
  // 0 is flannel's way to leave the choice to the kernel.
  Port: v.nullish(port, 0),
  MTU: underlayMtu,
  DirectRouting: v.nullish(flag, false),
  GBP: v.nullish(flag, false),
  Learning: v.nullish(flag, false),
});

const wireguardModes = ['separate', 'auto', 'ipv4', 'ipv6'] as const;

const wireguardSchema = v.object({
  ListenPort: v.nullish(port, 51820),
  ListenPortV6: v.nullish(port, 51821),
  MTU: underlayMtu,
  PSK: v.nullish(v.string('a text'), ''),
  PersistentKeepaliveInterval: v.nullish(wholeNumber(0, 65535), 0),
  Mode: v.nullish(v.picklist(wireguardModes, `one of ${wireguardModes.join(', ')}`), 'separate'),
});

/** 32 bytes in base64; the last letter carries four bits. */
const wireguardKey = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;

const udpSchema = v.object({ Port: v.nullish(wholeNumber(1, 65535), 8285) });
const ipipSchema = v.object({ DirectRouting: v.nullish(flag, false) });
const extensionSchema = v.object({
  PreStartupCommand: command,
  PostStartupCommand: command,
  SubnetAddCommand: command,
  SubnetRemoveCommand: command,
});

const offered = ['vxlan', 'udp', 'host-gw', 'ipip', 'wireguard', 'extension', 'alloc'] as const;

/** What flannel has, or had, and is not here. */
const absent: Readonly<Record<string, string>> = {
  ipsec: 'needs strongSwan and is not offered; "wireguard" encrypts as well',
  'tencent-vpc': 'is not offered; "host-gw" does without a cloud account where hosts share a network',
  'aws-vpc': 'was removed from flannel and is not offered',
  gce: 'was removed from flannel and is not offered',
  'ali-vpc': 'was removed from flannel and is not offered',
};

/** @param families those that are enabled */
export function checkBackend(
  reader: FieldReader,
  backend: JsonValue | undefined,
  families: readonly Family[],
): BackendConfig {
  // flannel's default when there is no Backend at all.
  const type =
    backend === undefined ? 'udp' : (reader.read(typeSchema, backend, 'config.Backend').Type ?? '');
  const known = offered.find((name) => name === type.toLowerCase());
  if (known === undefined) {
    const why = type === '' ? 'is missing' : `is ${show(type)}, which ${absent[type] ?? 'nobody knows'}`;
    reader.fail(
      'BACKEND_UNSUPPORTED',
      `config.Backend.Type ${why}`,
      `use one of ${offered.join(', ')}, the same on every host of the network`,
    );
  }
  const fields = new BackendReader(reader, backend ?? {}, families);
  switch (known) {
    case 'vxlan':
      return fields.vxlan();
    case 'udp':
      fields.onlyIPv4('udp', 'its packets have no room for IPv6');
      return { type: 'udp', port: fields.read(udpSchema).Port };
    case 'host-gw':
      return { type: 'host-gw' };
    case 'ipip':
      fields.onlyIPv4('ipip', 'it carries IPv4 in IPv4');
      return { type: 'ipip', directRouting: fields.read(ipipSchema).DirectRouting };
    case 'wireguard':
      return fields.wireguard();
    case 'extension':
      return fields.extension();
    case 'alloc':
      return { type: 'alloc' };
  }
}

class BackendReader {
  readonly #reader: FieldReader;
  readonly #backend: JsonValue;
  readonly #families: readonly Family[];

  constructor(reader: FieldReader, backend: JsonValue, families: readonly Family[]) {
    this.#reader = reader;
    this.#backend = backend;
    this.#families = families;
  }

  read<const T extends v.ObjectEntries>(schema: v.ObjectSchema<T, undefined>): v.InferOutput<typeof schema> {
    return this.#reader.read(schema, this.#backend, 'config.Backend');
  }

  onlyIPv4(type: BackendType, why: string): void {
    if (!this.#families.includes(6)) return;
    this.#reader.fail(
      'BACKEND_UNSUPPORTED',
      `config.EnableIPv6 is true, and config.Backend.Type "${type}" is for IPv4 alone: ${why}`,
      'leave EnableIPv6 out, or use another backend such as vxlan',
    );
  }

  vxlan(): VxlanConfig {
    const fields = this.read(vxlanSchema);
    return {
      type: 'vxlan',
      vni: fields.VNI,
      port: fields.Port === 0 ? defaultVxlanPort : fields.Port,
      ...this.#mtu(fields.MTU, 'VXLAN', vxlanOverhead),
      directRouting: fields.DirectRouting,
      gbp: fields.GBP,
      learning: fields.Learning,
    };
  }

  wireguard(): WireguardConfig {
    const fields = this.read(wireguardSchema);
    // Not shown: it is a secret.
    if (fields.PSK !== '' && !wireguardKey.test(fields.PSK)) {
      this.#reader.invalid(
        'config.Backend.PSK is not a key of 32 bytes in base64',
        'make one with `wg genpsk`',
      );
    }
    const mode = fields.Mode;
    const lacks = { ipv4: 4, ipv6: 6, auto: undefined, separate: undefined }[mode];
    if (lacks !== undefined && !this.#families.includes(lacks as Family)) {
      this.#reader.invalid(
        `config.Backend.Mode is "${mode}", and IPv${lacks} is not enabled`,
        `set config.EnableIPv${lacks}, or leave Mode out`,
      );
    }
    return {
      type: 'wireguard',
      listenPort: fields.ListenPort,
      listenPortV6: fields.ListenPortV6,
      ...this.#mtu(fields.MTU, 'WireGuard', { 4: 80, 6: 80 }),
      ...(fields.PSK !== '' && { psk: fields.PSK }),
      keepalive: fields.PersistentKeepaliveInterval,
      mode,
    };
  }

  extension(): ExtensionConfig {
    const fields = this.read(extensionSchema);
    const given = <const K extends string>(
      key: K,
      text: string | null | undefined,
    ): Partial<Record<K, string>> =>
      text === undefined || text === null || text.trim() === '' ? {} : ({ [key]: text } as Record<K, string>);
    return {
      type: 'extension',
      ...given('preStartup', fields.PreStartupCommand),
      ...given('postStartup', fields.PostStartupCommand),
      ...given('subnetAdd', fields.SubnetAddCommand),
      ...given('subnetRemove', fields.SubnetRemoveCommand),
    };
  }

  #mtu(
    mtu: number | null | undefined,
    tunnel: string,
    overhead: Readonly<Record<Family, number>>,
  ): { readonly mtu?: number } {
    if (mtu === undefined || mtu === null) return {};
    const widest = this.#families.includes(6) ? 6 : 4;
    const least = leastMtu[widest] + overhead[widest];
    if (mtu < least) {
      this.#reader.invalid(
        `config.Backend.MTU is ${mtu}, too small for IPv${widest} packets of ${leastMtu[widest]} bytes inside ${tunnel}`,
        `use ${least} or more: it is the MTU of the underlay, before ${tunnel} takes its part`,
      );
    }
    return { mtu };
  }
}
