// A tool that hangs once in an hour is no reason to throw the hour away.

/** Does it again when it fails the first time, unless it failed because it was aborted. */
export async function twice<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await attempt();
  } catch {
    signal.throwIfAborted();
    return attempt();
  }
}
