// The driver for a kind of device.

import type { DevicePlan } from '../../backend/plan.ts';
import { Engine } from '../../engine/engine.ts';
import type { Netlink } from '../../netlink/client.ts';
import type { DeviceDriver, OnRepair } from './driver.ts';
import { EngineDevice } from './engine-device.ts';
import { IpipDevice } from './ipip-device.ts';
import { VxlanDevice } from './vxlan-device.ts';
import { WireguardDevice } from './wireguard-device.ts';

export type DriverMaker = (kind: DevicePlan['kind'], onRepair: OnRepair) => DeviceDriver;

export function driverMaker(netlink: Netlink): DriverMaker {
  return (kind, onRepair) => {
    switch (kind) {
      case 'engine':
        return new EngineDevice({ netlink, onRepair, openEngine: (config) => Engine.open(config) });
      case 'vxlan':
        return new VxlanDevice({ netlink, onRepair });
      case 'ipip':
        return new IpipDevice({ netlink, onRepair });
      case 'wireguard':
        return new WireguardDevice({ netlink, onRepair });
    }
  };
}
