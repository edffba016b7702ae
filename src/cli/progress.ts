// Progress of a command that takes a while: one line a step, on stderr, so that stdout holds the result alone.

import { styleText } from 'node:util';

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

export class Progress {
  readonly #out: NodeJS.WriteStream;
  readonly #live: boolean;

  constructor(out: NodeJS.WriteStream = process.stderr) {
    this.#out = out;
    this.#live = out.isTTY && process.env['TERM'] !== 'dumb';
  }

  /** Shows `title` while `work` runs; when it is done, the title with what `work` answers for `note`. */
  async step<T>(title: string, work: () => Promise<T>, note: (result: T) => string = () => ''): Promise<T> {
    const start = performance.now();
    const timer = this.#spin(title);
    try {
      const result = await work();
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      this.#end(timer, 'green', '✓', `${title}${note(result)} ${this.#dim(`(${seconds} s)`)}`);
      return result;
    } catch (error) {
      this.#end(timer, 'red', '✗', title);
      throw error;
    }
  }

  /** A line by itself. */
  note(text: string): void {
    this.#out.write(`${this.#paint('yellow', '!')} ${text}\n`);
  }

  #spin(title: string): NodeJS.Timeout | undefined {
    if (!this.#live) return undefined;
    let turn = 0;
    const draw = (): void => {
      const frame = frames[turn % frames.length] ?? '';
      this.#out.write(`\r\x1b[K${frame} ${title}`);
      turn += 1;
    };
    draw();
    return setInterval(draw, 100);
  }

  #end(timer: NodeJS.Timeout | undefined, colour: 'green' | 'red', mark: string, text: string): void {
    clearInterval(timer);
    if (this.#live) this.#out.write('\r\x1b[K');
    this.#out.write(`${this.#paint(colour, mark)} ${text}\n`);
  }

  #paint(colour: 'green' | 'red' | 'yellow', text: string): string {
    return this.#colours() ? styleText(colour, text) : text;
  }

  #dim(text: string): string {
    return this.#colours() ? styleText('dim', text) : text;
  }

  #colours(): boolean {
    return this.#out.isTTY && process.env['NO_COLOR'] === undefined;
  }
}
