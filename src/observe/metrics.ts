// A status as Prometheus reads it (text format 0.0.4): counts, sizes and choices, and no address of anybody, because
// whoever reaches the port may ask. Names end as Prometheus has it: `_total` is a counter, `_info` is 1 with its facts as
// labels.

import type { Status } from './status.ts';

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number];

export const metricsType = 'text/plain; version=0.0.4; charset=utf-8';

export function metricsText(status: Status): string {
  const { backend, dataplane, overlays, routes, problems, repairs, store, firewall } = status;
  const perDevice = (
    pick: (overlay: Status['overlays'][number]) => Readonly<Record<string, number>>,
    label: string,
  ): Sample[] =>
    overlays.flatMap((overlay) =>
      Object.entries(pick(overlay)).map(([name, value]): Sample => [
        { device: overlay.device, [label]: name },
        value,
      ]),
    );
  return [
    family('kersey_info', 'gauge', 'The daemon.', [[{ version: status.version }, 1]]),
    family('kersey_dataplane_info', 'gauge', 'Who carries packets, and why.', [
      [{ backend, mode: dataplane.mode, wish: dataplane.wish, reason: dataplane.why }, 1],
    ]),
    family('kersey_firewall_info', 'gauge', 'What makes firewall rules.', [[{ mode: firewall.mode }, 1]]),
    family('kersey_degraded', 'gauge', '1 while something is wrong.', [[{}, status.state === 'ok' ? 0 : 1]]),
    family(
      'kersey_problem',
      'gauge',
      'What is wrong now, by code.',
      countBy(problems.map(({ code }) => code)).map(([code, times]): Sample => [{ code }, times]),
    ),
    family('kersey_store_readable', 'gauge', '1 while the store can be read.', [
      [{}, store.state === 'readable' ? 1 : 0],
    ]),
    family('kersey_leases', 'gauge', 'Leases in the last table that could be read.', [[{}, store.leases]]),
    family('kersey_peers', 'gauge', 'Peers, by the device that leads to them.', [
      ...overlays.map(({ device, peers }): Sample => [{ device }, peers.length]),
      ...countBy(routes.map(({ device }) => device)).map(([device, times]): Sample => [{ device }, times]),
    ]),
    family(
      'kersey_feature_enabled',
      'gauge',
      'Kernel features, 1 where used.',
      overlays.flatMap(({ device, features }) =>
        features.map(({ name, on }): Sample => [{ device, feature: name }, on ? 1 : 0]),
      ),
    ),
    family('kersey_repairs_total', 'counter', 'What was put right that had been in order.', [
      ...Object.entries(repairs).map(([kind, value]): Sample => [{ kind }, value]),
    ]),
    family(
      'kersey_drops_total',
      'counter',
      'Packets dropped, by reason.',
      perDevice(({ drops }) => drops, 'reason'),
    ),
    family(
      'kersey_engine_events_total',
      'counter',
      "The engine's counters, by name.",
      perDevice(({ counters }) => counters, 'counter'),
    ),
  ].join('');
}

function countBy(names: readonly string[]): readonly (readonly [string, number])[] {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts];
}

function family(name: string, type: 'counter' | 'gauge', help: string, samples: readonly Sample[]): string {
  if (samples.length === 0) return '';
  const lines = samples.map(([labels, value]) => `${name}${labelText(labels)} ${value}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}
