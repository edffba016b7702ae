// What the addon exports, in groups. Each adds its functions to `exports`; names, arguments and results
// are declared in src/native/binding.ts.
#ifndef KERSEY_CALLS_H
#define KERSEY_CALLS_H

#include <napi.h>

namespace kersey {

// Engines: open, close, peers, what they count; what this kernel can do.
void add_engine_calls(Napi::Env env, Napi::Object exports);
// Netlink sockets, file locks, the service manager.
void add_system_calls(Napi::Env env, Napi::Object exports);
// File descriptors that call back when they can be read.
void add_watch_calls(Napi::Env env, Napi::Object exports);
void add_microbench_calls(Napi::Env env, Napi::Object exports);

} // namespace kersey

#endif
