// tcpdump records, tshark judges: what went over an interface, as an independent program decodes it.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run, type Background } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';

let number = 0;

/** Checksums are verified; port 8472, which IANA gave to something else, is VXLAN, and 8285 flannel's udp wire. */
const decode = [
  ...['-n', '-d', 'udp.port==8472,vxlan', '-d', 'udp.port==8285,ip'],
  ...['-o', 'ip.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE', '-o', 'tcp.check_checksum:TRUE'],
];

export class Capture {
  readonly file: string;
  readonly #device: string;
  readonly #tcpdump: Background;

  private constructor(host: Host, device: string, file: string) {
    this.#device = device;
    this.file = file;
    this.#tcpdump = host.spawn([...['tcpdump', '-i', device, '-w', file, '-U', '-B', '65536', '-Z', 'root']]);
  }

  /** Records everything on an interface of the host, into a file in `directory`. */
  static async start(host: Host, device: string, directory: string): Promise<Capture> {
    number += 1;
    const capture = new Capture(host, device, join(directory, `${host.name}-${device}-${number}.pcap`));
    await awaitCondition('tcpdump', () => {
      if (!capture.#tcpdump.running) throw capture.#tcpdump.failure();
      return capture.#tcpdump.stderr.includes('listening on');
    });
    return capture;
  }

  /** Waits until this text has gone by. */
  async seen(text: string): Promise<void> {
    await awaitCondition(`'${text}' on ${this.#device}`, () => readFileSync(this.file).includes(text));
  }

  /**
   * Ends the recording once this text has gone by: what was sent before it is then in the file. Throws when tcpdump
   * missed something.
   */
  async stop(last: string): Promise<void> {
    await this.seen(last);
    this.#tcpdump.kill('SIGINT');
    await this.#tcpdump.exited;
    const dropped = /(\d+) packets? dropped by kernel/.exec(this.#tcpdump.stderr)?.[1];
    if (dropped !== '0') throw new Error(`tcpdump missed packets: ${this.#tcpdump.stderr}`);
  }

  /** These fields of every frame that the filter lets through; several values of one field as several strings. */
  async fields(
    filter: string,
    ...fields: readonly string[]
  ): Promise<readonly (readonly (readonly string[])[])[]> {
    const columns = fields.flatMap((field) => ['-e', field]);
    const format = ['-T', 'fields', '-E', 'separator=/t', '-E', 'occurrence=a', '-E', 'aggregator=|'];
    const { stdout } = await run(['tshark', '-r', this.file, ...decode, '-Y', filter, ...format, ...columns]);
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('\t').map((cell) => (cell === '' ? [] : cell.split('|'))));
  }
}

/** A ping over the underlay that can be told from all others: something to stop recordings with. */
export async function mark(from: Host, to: Host): Promise<string> {
  number += 1;
  const text = `mark ${String(number).padStart(11, '0')}`;
  await from.exec(['ping', '-c', '1', '-s', '48', '-p', Buffer.from(text).toString('hex'), to.address4]);
  return text;
}
