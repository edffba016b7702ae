// Being told that something waits in a netlink socket, instead of asking now and then.
//
// Told once: until the socket has been read and arm() was called nobody is told again, however much comes. So whoever is
// told may read when it suits, and a storm of messages does not keep the process busy.

import type { WatchHandle } from '../native/binding.ts';
import { native } from '../native/loader.ts';

export class SocketWatch {
  readonly #handle: WatchHandle;
  #armed = true;
  #closed = false;

  /** @param onReadable called from the event loop; also when the socket is in error, which reading it then tells */
  constructor(fd: number, onReadable: () => void) {
    this.#handle = native().watchOpen(fd, () => {
      this.#armed = false;
      onReadable();
    });
  }

  arm(): void {
    if (this.#armed || this.#closed) return;
    native().watchArm(this.#handle);
    this.#armed = true;
  }

  /** To be called before the socket is closed. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    native().watchClose(this.#handle);
  }
}
