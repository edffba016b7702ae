// A grid of cells, for the terminal and for Markdown.

import Table from 'cli-table3';

export interface Grid {
  /** A second line of a heading is its unit. */
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export function terminalTable({ head, rows }: Grid): string {
  const table = new Table({
    head: [...head],
    style: { head: [], border: [], compact: true },
    colAligns: head.map((_, index) => (index === 0 ? 'left' : 'right')),
  });
  table.push(...rows.map((row) => [...row]));
  return table.toString();
}

export function markdownTable({ head, rows }: Grid): string {
  const rule = head.map((_, index) => (index === 0 ? '---' : '---:'));
  return [head.map((title) => title.replace('\n', ' ')), rule, ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}
