#include "calls.h"
#include "convert.h"

#include <chrono>

extern "C" {
#include "../bench/microbench.h"
}

namespace kersey {

namespace {

using Napi::Array;
using Napi::CallbackInfo;
using Napi::Env;
using Napi::Function;
using Napi::Number;
using Napi::Object;
using Napi::Value;

Value microbenches(const CallbackInfo &info) {
    Env env = info.Env();
    int err = ky_microbench_init();
    if (err != 0) {
        throw_errno(env, "memory", err);
        return env.Undefined();
    }
    Array a = Array::New(env, ky_microbench_count);
    for (uint32_t i = 0; i < ky_microbench_count; i++) {
        Object o = Object::New(env);
        const ky_microbench *bench = &ky_microbenches[i];
        o.Set("name", bench->name);
        o.Set("bytes", Number::New(env, bench->bytes));
        // run(iterations) returns the nanoseconds it took
        o.Set("run", Function::New(env, [bench](const CallbackInfo &call) -> Value {
                  uint32_t n = call[0].ToNumber().Uint32Value();
                  auto start = std::chrono::steady_clock::now();
                  bench->run(n);
                  std::chrono::duration<double, std::nano> took =
                      std::chrono::steady_clock::now() - start;
                  return Number::New(call.Env(), took.count());
              }));
        a.Set(i, o);
    }
    return a;
}

} // namespace

void add_microbench_calls(Env env, Object exports) {
    exports.Set("microbenches", Function::New(env, microbenches));
}

} // namespace kersey
