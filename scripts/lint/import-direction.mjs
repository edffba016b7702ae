// @ts-check
// An ESLint rule: every folder of src/ is a room, and a room imports only the rooms named here.
//
//     cli -> {node, lab} -> {store, backend, firewall, observe} -> {netlink, engine, config} -> net
//
// so that a lower room can be read, tested and replaced without the ones above it. `observe` is handed
// snapshots and therefore knows no engine, backend or netlink; `cni` must start fast and therefore imports
// nothing third-party, neither itself nor through another room. Type-only imports count like any other: a
// type known to the lower room is a decision it depends on.
//
// A room that is not in the table is refused, so that adding one means deciding where it stands.
// Words: "room" is the first path segment below src/; a file directly in src/ is a room of its own.
// Not handled: require() and import() of a computed name. ESM and the type-aware rules leave neither in src.

import { isBuiltin } from 'node:module';
import path from 'node:path';

/** What everybody may import: the error class, the clock, what the file system lacks, the loader of the native addon with its types. */
const FOUNDATION = ['errors.ts', 'clock.ts', 'directory.ts', 'native'];

/** Room -> the rooms it may import besides itself and the foundation. @type {Readonly<Record<string, readonly string[]>>} */
export const ROOMS = {
  'errors.ts': [],
  'clock.ts': [],
  'directory.ts': [],
  native: [],
  net: [],
  config: ['net'],
  engine: ['net'],
  netlink: ['net'],
  observe: ['net'],
  firewall: ['config', 'net'],
  store: ['config', 'net'],
  // Backends read what leases say; the store knows no backend.
  backend: ['store', 'netlink', 'engine', 'config', 'net'],
  node: ['store', 'backend', 'firewall', 'observe', 'netlink', 'engine', 'config', 'net'],
  lab: ['netlink', 'net'],
  cli: ['node', 'lab', 'store', 'backend', 'firewall', 'observe', 'netlink', 'engine', 'config', 'net'],
  cni: [],
  'index.ts': ['node', 'store', 'backend', 'observe', 'netlink', 'engine', 'config', 'net'],
};

/** Rooms whose start-up time is spent on every pod: no package at all. */
const WITHOUT_PACKAGES = new Set(['cni']);

/**
 * @typedef {object} Options
 * @property {string} root absolute path of src/
 * @property {readonly string[]} [dependencies] packages that are installed beside the published package
 */

/**
 * Why `from` may not import `specifier`, or undefined when it may.
 * @param {string} from path of the importing file
 * @param {string} specifier
 * @param {Options} options
 * @returns {string | undefined}
 */
export function refusal(from, specifier, { root, dependencies }) {
  const room = roomOf(path.relative(root, from));
  if (room === undefined) return undefined; // not a file of src: tests and benches import what they like
  const allowed = ROOMS[room];
  if (allowed === undefined) {
    return `'src/${room}' has no place in the import order; add it to ROOMS in scripts/lint/import-direction.mjs`;
  }
  if (!specifier.startsWith('.')) {
    if (isBuiltin(specifier)) return undefined;
    if (WITHOUT_PACKAGES.has(room))
      return `'src/${room}' imports no third-party package, but this is '${specifier}'`;
    const name = packageOf(specifier);
    if (dependencies !== undefined && !dependencies.includes(name)) {
      return `'${name}' is not in "dependencies" of package.json, so an installed kersey would not have it`;
    }
    return undefined;
  }
  const target = roomOf(path.relative(root, path.resolve(path.dirname(from), specifier)));
  if (target === undefined) return `'${specifier}' is outside src, which is all that is built and shipped`;
  if (target === room || FOUNDATION.includes(target) || allowed.includes(target)) return undefined;
  return `'src/${room}' may not import 'src/${target}': imports point downward only (${describe(room, allowed)})`;
}

/**
 * @param {string} relative path relative to src/
 * @returns {string | undefined}
 */
function roomOf(relative) {
  if (relative === '' || path.isAbsolute(relative)) return undefined;
  const [first] = relative.split(path.sep);
  return first === '..' ? undefined : first;
}

/**
 * @param {string} specifier
 * @returns {string}
 */
function packageOf(specifier) {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/**
 * @param {string} room
 * @param {readonly string[]} allowed
 */
function describe(room, allowed) {
  return `${room} -> ${[...allowed, ...FOUNDATION.filter((name) => name !== room)].join(', ')}`;
}

/** @type {import('eslint').Rule.RuleModule} */
export const importDirection = {
  meta: {
    type: 'problem',
    docs: { description: 'imports between the folders of src/ point downward only' },
    schema: [
      {
        type: 'object',
        properties: {
          root: { type: 'string' },
          dependencies: { type: 'array', items: { type: 'string' } },
        },
        required: ['root'],
        additionalProperties: false,
      },
    ],
    messages: { refused: '{{reason}}' },
  },
  create(context) {
    const options = /** @type {Options} */ (context.options[0]);
    /** @param {{ source?: unknown }} node a node whose `source` may be a string literal */
    const check = (node) => {
      const literal = /** @type {import('estree').Literal | null | undefined} */ (node.source);
      if (typeof literal?.value !== 'string') return;
      const reason = refusal(context.filename, literal.value, options);
      if (reason !== undefined) context.report({ node: literal, messageId: 'refused', data: { reason } });
    };
    return {
      ImportDeclaration: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
      ImportExpression: check,
      TSImportType: check, // import('./x.ts').T
    };
  },
};
