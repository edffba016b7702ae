// The Backend member of the network configuration. VXLAN is the one backend that is offered.

import * as v from 'valibot';
import type { Family } from '../net/ip.ts';
import { flag, show, wholeNumber } from './fields.ts';
import type { FieldReader } from './fields.ts';
import type { JsonValue } from './json.ts';

export interface VxlanConfig {
  readonly type: 'vxlan';
  readonly vni: number;
  readonly port: number;
  /** MTU of the underlay, instead of that of the external interface. */
  readonly mtu?: number;
}

/** What the kernel uses when flannel gives it no port. */
export const defaultVxlanPort = 8472;

/** What VXLAN adds on an IPv4 underlay and on an IPv6 one: IP, UDP, VXLAN and the inner Ethernet header. */
export const vxlanOverhead = { 4: 50, 6: 70 } as const;

/** Every IPv4 host takes packets this large (RFC 791); every IPv6 link carries packets this large (RFC 8200). */
export const leastMtu = { 4: 576, 6: 1280 } as const;

const typeSchema = v.object({ Type: v.nullish(v.string('a text such as "vxlan"')) });

const vxlanSchema = v.object({
  // The kernel takes VNI 0, and so does flannel.
  VNI: v.nullish(wholeNumber(0, 0xffffff), 1),
  // 0 is flannel's way to leave the choice to the kernel.
  Port: v.nullish(wholeNumber(0, 65535), 0),
  MTU: v.nullish(wholeNumber(1, 65535)),
  DirectRouting: v.nullish(flag, false),
  GBP: v.nullish(flag, false),
  Learning: v.nullish(flag, false),
});

/** @param widest the family that asks for the larger MTU among those that are enabled */
export function checkBackend(
  reader: FieldReader,
  backend: JsonValue | undefined,
  widest: Family,
): VxlanConfig {
  const remedy = 'set config.Backend to {"Type": "vxlan"} on every host of the network';
  if (backend === undefined) {
    const problem = 'config.Backend is missing, which means the "udp" backend, and only "vxlan" is offered';
    reader.fail('BACKEND_UNSUPPORTED', problem, remedy);
  }
  const type = reader.read(typeSchema, backend, 'config.Backend').Type ?? '';
  if (type.toLowerCase() !== 'vxlan') {
    const problem = type === '' ? 'missing' : show(type);
    reader.fail(
      'BACKEND_UNSUPPORTED',
      `config.Backend.Type is ${problem}, and only "vxlan" is offered`,
      remedy,
    );
  }

  const fields = reader.read(vxlanSchema, backend, 'config.Backend');
  for (const option of ['DirectRouting', 'GBP', 'Learning'] as const) {
    if (fields[option]) {
      const problem = `config.Backend.${option} is true, and this is not offered`;
      reader.fail('BACKEND_UNSUPPORTED', problem, 'set it to false or leave it out');
    }
  }
  const mtu = fields.MTU ?? undefined;
  const least = leastMtu[widest] + vxlanOverhead[widest];
  if (mtu !== undefined && mtu < least) {
    reader.invalid(
      `config.Backend.MTU is ${mtu}, too small for IPv${widest} packets of ${leastMtu[widest]} bytes inside VXLAN`,
      `use ${least} or more: it is the MTU of the underlay, before VXLAN takes its part`,
    );
  }
  return {
    type: 'vxlan',
    vni: fields.VNI,
    port: fields.Port === 0 ? defaultVxlanPort : fields.Port,
    ...(mtu !== undefined && { mtu }),
  };
}
