// @ts-check
// Who may include what in native/. The engine builds, tests and fuzzes without Node and without our small
// system calls, and the C++ files of one folder know Node-API.

import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

/** C++ and its headers; what is written in C there does without. */
const ADDON = /^native\/addon\/\w+\.(cc|h)$/;
const NODE_HEADERS = /^(napi\.h|node_api\.h|js_native_api\.h|node\.h|v8\.h|uv\.h|nan\.h)$/;
/** Folder of native/ -> the folders that it may not include from. @type {Readonly<Record<string, readonly string[]>>} */
const FORBIDDEN = { engine: ['system', 'addon'], system: ['engine', 'addon'] };

/**
 * @param {string} file path from the root of the checkout
 * @param {string} text
 * @returns {string[]} one line per include that is not allowed
 */
export function refusedIncludes(file, text) {
  const refused = [];
  const folder = file.split('/')[1] ?? '';
  for (const [index, line] of text.split('\n').entries()) {
    const header = /^\s*#\s*include\s*[<"]([^>"]+)[>"]/.exec(line)?.[1];
    if (header === undefined) continue;
    const where = `${file}:${String(index + 1)}`;
    if (NODE_HEADERS.test(header) && !ADDON.test(file)) {
      refused.push(`${where}: only C++ in native/addon includes <${header}>`);
    }
    // Both "../system/netlink.h" and, through an include path, "system/netlink.h".
    const target = FORBIDDEN[folder]?.find((name) => path.dirname(header).split('/').includes(name));
    if (target !== undefined)
      refused.push(`${where}: native/${folder} includes nothing from native/${target}`);
  }
  return refused;
}

/**
 * @param {string} root
 * @returns {string[]}
 */
export function checkNativeIncludes(root) {
  return nativeSources(root).flatMap((file) =>
    refusedIncludes(file, readFileSync(path.join(root, file), 'utf8')),
  );
}

/**
 * @param {string} root
 * @returns {string[]} the C and C++ files below native/ and test/, as paths from the root
 */
export function nativeSources(root) {
  return ['native', 'test'].flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.(c|h|cc)$/.test(file))
      .map((file) => path.join(folder, file))
      .sort(),
  );
}
