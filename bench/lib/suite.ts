// The one place that knows benchmark.js: runs small functions and says how long one operation takes.
//
// benchmark.js repeats a function for a while, estimates the mean and its error by Student's t. It knows no
// percentiles and takes the samples for normally distributed; for loops of nanoseconds on an idle machine that will do.

import Benchmark from 'benchmark';

export interface MicroCase {
  readonly name: string;
  /** Bytes that one operation handles; 0 where it is not about bytes. */
  readonly bytes: number;
  /** Runs so many operations. */
  run(iterations: number): void;
}

export interface MicroResult {
  readonly name: string;
  readonly bytes: number;
  readonly nanoseconds: number;
  /** Relative margin of error, 95 %, in percent. */
  readonly marginPercent: number;
  readonly samples: number;
}

/** Runs the cases one after the other; a case that the signal interrupts gives no result. */
export async function runSuite(
  cases: readonly MicroCase[],
  options: { readonly maxSeconds: number; readonly signal: AbortSignal },
  onResult: (result: MicroResult) => void = () => undefined,
): Promise<readonly MicroResult[]> {
  const results: MicroResult[] = [];
  for (const item of cases) {
    options.signal.throwIfAborted();
    const result = await measure(item, options.maxSeconds);
    results.push(result);
    onResult(result);
  }
  return results;
}

function measure(item: MicroCase, maxSeconds: number): Promise<MicroResult> {
  const batch = batchSize(item);
  return new Promise((resolve, reject) => {
    const benchmark = new Benchmark(
      item.name,
      () => {
        item.run(batch);
      },
      { maxTime: maxSeconds, minTime: 0.02, async: true },
    );
    benchmark.on('error', () => {
      reject(benchmark.error instanceof Error ? benchmark.error : new Error(String(benchmark.error)));
    });
    benchmark.on('complete', () => {
      resolve({
        name: item.name,
        bytes: item.bytes,
        nanoseconds: (benchmark.stats.mean * 1e9) / batch,
        marginPercent: benchmark.stats.rme,
        samples: benchmark.stats.sample.length,
      });
    });
    benchmark.run();
  });
}

/** So many operations that the call from JavaScript (some 100 ns) is lost in them: about half a millisecond. */
function batchSize(item: MicroCase): number {
  for (let batch = 1; ; batch *= 2) {
    const start = performance.now();
    item.run(batch);
    if (performance.now() - start > 0.5 || batch >= 1 << 24) return batch;
  }
}
