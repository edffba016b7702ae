// Values of options that are more than a text.

import { dataplaneWishes } from '../node/dataplane.ts';
import type { DataplaneWish } from '../node/dataplane.ts';
import { isFeature, features } from '../engine/feature.ts';
import type { Feature } from '../engine/feature.ts';
import { KerseyError } from '../errors.ts';
import { firewallModes } from '../firewall/choose.ts';
import type { FirewallMode } from '../firewall/choose.ts';

export type Output = 'text' | 'json';

/** Receive queues of one TUN device (native/engine/engine.h, KY_WORKERS_MAX). */
const mostWorkers = 16;

export function parseOutput(text: string): Output {
  if (text === 'text' || text === 'json') return text;
  throw new KerseyError('USAGE', `--output ${text} is not a format`, { remedy: 'write -o text or -o json' });
}

export function parseFirewall(text: string): FirewallMode {
  const mode = firewallModes.find((name) => name === text);
  if (mode !== undefined) return mode;
  throw new KerseyError('USAGE', `--firewall ${text} is not a choice`, {
    remedy: `write one of ${firewallModes.join(', ')}`,
  });
}

/** For what goes by that name. */
export function dataplaneParser(name: string): (text: string) => DataplaneWish {
  return (text) => {
    const wish = dataplaneWishes.find((known) => known === text);
    if (wish !== undefined) return wish;
    throw new KerseyError('USAGE', `${name} ${text} is not a choice`, {
      remedy: `write one of ${dataplaneWishes.join(', ')}`,
    });
  };
}

export function parseWorkers(text: string): number {
  const workers = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (workers >= 1 && workers <= mostWorkers) return workers;
  throw new KerseyError('USAGE', `--workers ${text} is not a number of workers`, {
    remedy: `write a whole number from 1 to ${mostWorkers}`,
  });
}

/** For an option that is a whole number of that range. */
export function wholeNumber(flag: string, min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : -1;
    if (value >= min && value <= max) return value;
    throw new KerseyError('USAGE', `${flag} ${text} is not a number that it takes`, {
      remedy: `write a whole number from ${min} to ${max}`,
    });
  };
}

/** May be given several times; each is a comma list. */
export function parseFeatures(text: string, before: readonly Feature[] = []): readonly Feature[] {
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.find((name) => !isFeature(name));
  if (unknown === undefined) return [...new Set([...before, ...names.filter(isFeature)])];
  throw new KerseyError('USAGE', `--disable ${unknown} names no feature`, {
    remedy: `the features are ${features.join(', ')}`,
  });
}

export function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}
