// Opens a lab, says its id, and waits to be ended.

import { Lab } from '../../src/lab/lab.ts';

const lab = await Lab.open({ hosts: ['h1', 'h2'] });
lab.host('h1').spawn(['sleep', '1000']);
process.stdout.write(`${lab.id}\n`);
setInterval(() => undefined, 60_000);
