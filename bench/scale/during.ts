// Work that lasts as long as a stream does.

/**
 * Ends `work` by its signal when the stream has ended or failed, waits for both and answers with what they gave; with
 * the stream's error first.
 */
export async function during<Stream, Work>(
  stream: Promise<Stream>,
  work: (ended: AbortSignal) => Promise<Work>,
): Promise<readonly [Stream, Work]> {
  const ended = new AbortController();
  const both = [
    stream.finally(() => {
      ended.abort();
    }),
    work(ended.signal),
  ] as const;
  // Neither is left behind alone with what its caller then closes.
  await Promise.allSettled(both);
  return Promise.all(both);
}
