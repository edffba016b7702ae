// @ts-check
// The Debian packages Kersey is built, shown and tested with, and how to tell that one is missing.
//
// A package counts as there when the program or file we use is there, whoever installed it: a compiler under
// /usr/local or a Python from pyenv is as good as Debian's.

import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { nodeHeaders } from './node.mjs';
import { runQuietly, say } from './quiet.mjs';
import { withoutServices } from './services.mjs';

/** @typedef {'build' | 'demo' | 'bench' | 'test' | 'check' | 'fuzz'} Purpose */

/**
 * @typedef {object} SystemPackage
 * @property {string} name as Debian calls it
 * @property {string} use what we need it for, to be read after a colon
 * @property {Purpose} purpose
 * @property {() => boolean} present
 */

/** @type {readonly SystemPackage[]} */
export const SYSTEM_PACKAGES = [
  {
    name: 'g++',
    use: 'compiles the engine',
    purpose: 'build',
    present: () => program('g++') && program('cc'),
  },
  { name: 'make', use: 'builds the engine', purpose: 'build', present: () => program('make') },
  { name: 'python3', use: 'runs node-gyp', purpose: 'build', present: () => program('python3') },
  // node-gyp needs Node's headers; without them the addon is built by CMake, which brings its own.
  {
    name: 'cmake',
    use: 'builds the engine',
    purpose: 'build',
    present: () => nodeHeaders() !== undefined || program('cmake'),
  },
  { name: 'iproute2', use: 'makes network namespaces', purpose: 'demo', present: () => program('ip') },
  { name: 'iputils-ping', use: 'pings', purpose: 'demo', present: () => program('ping') },
  { name: 'iperf3', use: 'measures throughput', purpose: 'demo', present: () => program('iperf3') },
  { name: 'ethtool', use: 'sets device offloads', purpose: 'demo', present: () => program('ethtool') },
  { name: 'procps', use: 'sets kernel parameters', purpose: 'demo', present: () => program('sysctl') },
  { name: 'sockperf', use: 'measures round trips', purpose: 'bench', present: () => program('sockperf') },
  { name: 'cmake', use: 'builds the C tests', purpose: 'test', present: () => program('cmake') },
  { name: 'ninja-build', use: 'builds the C tests', purpose: 'test', present: () => program('ninja') },
  { name: 'clang', use: 'compiles the fuzz targets', purpose: 'fuzz', present: () => program('clang') },
  { name: 'libclang-rt-dev', use: 'links the fuzz targets', purpose: 'fuzz', present: hasFuzzerRuntime },
  { name: 'llvm', use: 'names functions in sanitizer reports', purpose: 'fuzz', present: hasSymbolizer },
  { name: 'tshark', use: 'judges packets', purpose: 'test', present: () => program('tshark') },
  { name: 'nftables', use: 'loses packets', purpose: 'test', present: () => program('nft') },
  { name: 'iptables', use: 'is the other firewall', purpose: 'test', present: () => program('iptables') },
  { name: 'tcpdump', use: 'captures packets', purpose: 'test', present: () => program('tcpdump') },
  {
    name: 'strace',
    use: 'shows what `ip` asks the kernel',
    purpose: 'test',
    present: () => program('strace'),
  },
  { name: 'etcd-server', use: 'is the etcd of the tests', purpose: 'test', present: () => program('etcd') },
  { name: 'etcd-client', use: 'writes to etcd', purpose: 'test', present: () => program('etcdctl') },
  { name: 'protobuf-compiler', use: 'compiles proto/', purpose: 'check', present: () => program('protoc') },
  { name: 'wireguard-tools', use: 'configures WireGuard', purpose: 'test', present: () => program('wg') },
  {
    name: 'wireguard-go',
    use: 'is WireGuard where the kernel has none',
    purpose: 'test',
    present: () => program('wireguard-go'),
  },
  { name: 'openssl', use: 'makes certificates', purpose: 'test', present: () => program('openssl') },
];

/**
 * @param {readonly Purpose[]} purposes
 * @returns {SystemPackage[]} each package once
 */
export function missingPackages(purposes) {
  const missing = SYSTEM_PACKAGES.filter(({ purpose, present }) => purposes.includes(purpose) && !present());
  return missing.filter(({ name }, i) => missing.findIndex((other) => other.name === name) === i);
}

/**
 * Installs the packages when we are root on Debian, otherwise says in one line what to install.
 * @param {readonly SystemPackage[]} missing
 * @returns {boolean} whether they are there now
 */
export function installPackages(missing) {
  if (missing.length === 0) return true;
  const names = missing.map(({ name }) => name);
  const install = ['apt-get', 'install', '-y', '--no-install-recommends', ...names];
  if (!isDebian() || process.getuid?.() !== 0) {
    const wants = missing.map(({ name, use }) => `${name} (${use})`).join(', ');
    const where = isDebian() ? `run: sudo ${install.join(' ')}` : "install them (these are Debian's names)";
    process.stderr.write(`kersey: missing ${wants}; ${where}\n`);
    return false;
  }
  say(`installing Debian packages: ${names.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  // Another apt-get (unattended-upgrades on a fresh machine) is waited for. So is nothing else: no question
  // is asked, and tshark's about captures by everybody keeps its default, no.
  const apt = (/** @type {string[]} */ args, quiet = false) =>
    runQuietly('apt-get', ['-o', 'DPkg::Lock::Timeout=300', ...args], { env, quiet });
  const args = install.slice(1);
  // On a new machine the package lists are empty, on an old one they may name files that are gone.
  if (withoutServices(() => apt(args, true) || (apt(['update']) && apt(args)))) return true;
  process.stderr.write(`kersey: apt-get could not install ${names.join(' ')}; see above\n`);
  return false;
}

/**
 * @param {string} name
 * @returns {boolean} whether it can be run; the sbin folders count even when a user's PATH lacks them
 */
function program(name) {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return folders.some((folder) => folder !== '' && executable(path.join(folder, name)));
}

/** @param {string} file */
function executable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function hasSymbolizer() {
  return program('llvm-symbolizer') || below('/usr/lib', /^llvm-/, 'bin/llvm-symbolizer');
}

/** libFuzzer's archive, in the resource folder of whichever clang is installed. */
function hasFuzzerRuntime() {
  const archives = ['lib/linux/libclang_rt.fuzzer-x86_64.a', 'lib/linux/libclang_rt.fuzzer-aarch64.a'];
  return versions('/usr/lib', /^llvm-/).some((llvm) =>
    archives.some((archive) => below(path.join(llvm, 'lib/clang'), /^\d/, archive)),
  );
}

/**
 * @param {string} folder
 * @param {RegExp} pattern
 */
function versions(folder, pattern) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => pattern.test(name))
    .map((name) => path.join(folder, name));
}

/**
 * @param {string} folder
 * @param {RegExp} pattern
 * @param {string} file
 */
function below(folder, pattern, file) {
  return versions(folder, pattern).some((version) => existsSync(path.join(version, file)));
}

function isDebian() {
  return existsSync('/etc/debian_version') && program('apt-get');
}
