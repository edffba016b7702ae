// The thin face of the native library to JavaScript: converts values, checks types, calls. No packet
// passes through here. All calls come from the thread of one JavaScript environment.

#include "calls.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
    kersey::add_engine_calls(env, exports);
    kersey::add_system_calls(env, exports);
    kersey::add_watch_calls(env, exports);
    kersey::add_microbench_calls(env, exports);
    return exports;
}

NODE_API_MODULE(kersey, init)

} // namespace
