// The dataplane's inner loops, which live in C: native/bench/microbench.c.

import { native } from '../../src/native/loader.ts';
import type { MicroCase } from '../lib/suite.ts';

export function dataplaneCases(): readonly MicroCase[] {
  return native().microbenches();
}
