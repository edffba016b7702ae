// What must be undone however the process ends.
//
// A namespace outlives the process that made it, so every lab registers a synchronous last resort here. It runs when
// the process exits and, for a lab that asks for it, on SIGINT, SIGTERM and SIGHUP. A program that deals with these
// signals itself (as `kersey demo` does, to clean up in the right order) does not ask. SIGKILL cannot be caught; what
// it leaves is found later by name, see sweep.ts.
//
// The latest goes first, as what is made later stands on what was there: a program that is still making namespaces ends
// before the namespaces are removed.

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

interface Cleanup {
  readonly run: () => void;
  readonly onSignals: boolean;
}

const cleanups = new Set<Cleanup>();
let listening = { exit: false, signals: false };

/** Runs `cleanup` when the process ends. The returned function takes it back. */
export function atExit(cleanup: () => void, options: { onSignals?: boolean } = {}): () => void {
  const entry: Cleanup = { run: cleanup, onSignals: options.onSignals ?? false };
  cleanups.add(entry);
  listen();
  return () => {
    cleanups.delete(entry);
    listen();
  };
}

/** Listens for exactly what is needed now, so that an idle program keeps its usual behaviour. */
function listen(): void {
  const wanted = { exit: cleanups.size > 0, signals: [...cleanups].some((entry) => entry.onSignals) };
  if (wanted.exit !== listening.exit) process[wanted.exit ? 'on' : 'off']('exit', runAll);
  if (wanted.signals !== listening.signals) {
    for (const signal of signals) process[wanted.signals ? 'on' : 'off'](signal, onSignal);
  }
  listening = wanted;
}

function onSignal(signal: NodeJS.Signals): void {
  runAll();
  // Die of the signal, so that the parent sees what happened.
  process.kill(process.pid, signal);
}

function runAll(): void {
  for (const entry of [...cleanups].reverse()) {
    try {
      entry.run();
    } catch {
      // The others still have to run, and there is nobody left to tell.
    }
  }
  cleanups.clear();
  listen();
}
