// Counters of hosts and engines become an account of where packets went.

import t from 'tap';
import {
  lossAccount,
  parseHostDrops,
  type DropSnapshot,
  type EngineTotals,
  type HostDrops,
} from '../../../src/lab/losses.ts';

const nothing: HostDrops = { devices: {}, underlayDevice: 0, sockets: 0, portless: 0, openSockets: {} };

function snapshot(h1: Partial<HostDrops>, h2: Partial<HostDrops>): DropSnapshot {
  return { hosts: { h1: { ...nothing, ...h1 }, h2: { ...nothing, ...h2 } } };
}

t.test("a host's counters are read from ip, tc and /proc", async (t) => {
  const link = (ifname: string, rx: number, tx: number): object => ({
    ifname,
    stats64: { rx: { errors: 0, dropped: rx }, tx: { errors: 1, dropped: tx } },
  });
  const drops = parseHostDrops({
    links: JSON.stringify([link('eth0', 2, 3), link('flannel.1', 0, 40)]),
    qdiscs: JSON.stringify([{ dev: 'flannel.1', drops: 500 }, { dev: 'eth0' }]),
    snmp: 'Udp: InDatagrams NoPorts InErrors OutDatagrams\nUdp: 9 1 70 9\nUdpLite: InDatagrams\nUdpLite: 0\n',
    udp: ' sl timeout inode ref pointer drops\n 859: 0 51 2 0000 7  \n 860: 0 52 2 0000 3\n',
    underlay: 'eth0',
  });
  t.same(drops, {
    devices: { 'flannel.1': 541 },
    underlayDevice: 6,
    sockets: 70,
    portless: 1,
    openSockets: { 51: 7, 52: 3 },
  });
});

t.test('every packet is delivered, counted or unexplained', async (t) => {
  const before = snapshot({ devices: { 'flannel.1': 5 } }, { sockets: 1 });
  const after = snapshot({ devices: { 'flannel.1': 25 } }, { sockets: 71 });
  t.match(lossAccount({ sent: 1000, delivered: 500 }, before, after), {
    places: { 'h1 flannel.1': 20, "the receiver's socket": 70 },
    atReceiver: 70,
    unexplained: 410,
  });
});

t.test('a socket that overflowed is not read to its end', async (t) => {
  const full = snapshot({}, { sockets: 70 });
  t.match(lossAccount({ sent: 1000, delivered: 900 }, snapshot({}, {}), full), {
    places: { "the receiver's socket": 70, "left unread in the receiver's socket": 30 },
    atReceiver: 100,
    unexplained: 0,
  });
  t.equal(
    lossAccount({ sent: 1000, delivered: 970 }, snapshot({}, {}), snapshot({}, {})).unexplained,
    30,
    'one that did not explains nothing',
  );
});

t.test('what comes after the receiver ended is counted by the train', async (t) => {
  const late = snapshot({}, { sockets: 500, portless: 31 });
  t.match(lossAccount({ sent: 4000, delivered: 1400 }, snapshot({}, {}), late), {
    places: { "the receiver's socket": 500, 'after the receiver ended': 2100 },
    atReceiver: 2600,
    unexplained: 0,
  });
  t.equal(
    lossAccount({ sent: 9000, delivered: 1400 }, snapshot({}, {}), late).unexplained,
    9000 - 1400 - 531,
    'and a train has an end',
  );
});

t.test('what is dropped that was never sent, as of ARP, explains nothing negative', async (t) => {
  const account = lossAccount(
    { sent: 10, delivered: 10 },
    snapshot({}, {}),
    snapshot({ devices: { 'flannel.1': 6 } }, {}),
  );
  t.equal(account.unexplained, 0);
});

t.test('between engines the kernel counts trains, the engines packets', async (t) => {
  const engines = (txPackets: number, rxPackets: number, refused: number): EngineTotals => ({
    ...{ txPackets, rxPackets },
    drops: { tx_no_peer: 0, rx_martian: refused },
  });
  const before = { ...snapshot({}, { openSockets: { 51: 1 } }), engines: engines(100, 90, 5) };
  const after = { ...snapshot({}, { sockets: 2, openSockets: { 51: 3 } }), engines: engines(1100, 1020, 9) };
  t.match(lossAccount({ sent: 1000, delivered: 930 }, before, after), {
    places: { underlay: 66, 'Kersey rx_martian': 4 },
    atReceiver: 0,
    unexplained: 0,
  });
  const late = {
    ...snapshot({}, { sockets: 30, openSockets: { 51: 1, 99: 30 } }),
    engines: engines(1100, 1090, 5),
  };
  t.match(
    lossAccount({ sent: 1000, delivered: 970 }, before, late),
    { atReceiver: 30, unexplained: 0 },
    "a receiving program's socket that is still open is not the tunnel's",
  );
  const silent = { ...snapshot({}, {}), engines: engines(1100, 1020, 9) };
  t.equal(
    lossAccount({ sent: 1000, delivered: 930 }, before, silent).unexplained,
    66,
    'a loss that no kernel counter knows of stays unexplained',
  );
});
