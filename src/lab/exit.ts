// What must be undone however the process ends.
//
// A namespace outlives the process that made it, so every lab registers a synchronous last resort here. It runs when
// the process exits, and on SIGINT, SIGTERM and SIGHUP when nobody else listens for that signal: a program that
// handles the signal itself (as `kersey demo` does, to clean up in the right order) is left to do so. SIGKILL cannot
// be caught; what it leaves is found later by name, see sweep.ts.

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const cleanups = new Set<() => void>();

/** Runs `cleanup` when the process ends, however that happens. The returned function takes it back. */
export function atExit(cleanup: () => void): () => void {
  if (cleanups.size === 0) listen();
  cleanups.add(cleanup);
  return () => {
    cleanups.delete(cleanup);
    if (cleanups.size === 0) unlisten();
  };
}

function listen(): void {
  process.on('exit', runAll);
  for (const signal of signals) process.on(signal, onSignal);
}

function unlisten(): void {
  process.off('exit', runAll);
  for (const signal of signals) process.off(signal, onSignal);
}

function onSignal(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  runAll();
  unlisten();
  // Die of the signal, so that the parent sees what happened.
  process.kill(process.pid, signal);
}

function runAll(): void {
  for (const cleanup of cleanups) {
    try {
      cleanup();
    } catch {
      // The others still have to run, and there is nobody left to tell.
    }
  }
  cleanups.clear();
}
