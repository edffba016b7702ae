// A watch belongs to the environment's loop, which has to run once more to let it go: it ends by a
// cleanup hook.

#include "calls.h"
#include "convert.h"

#include <cerrno>

extern "C" {
#include "watch.h"
}

namespace kersey {

namespace {

using Napi::CallbackInfo;
using Napi::Env;
using Napi::External;
using Napi::Function;
using Napi::Object;
using Napi::TypeError;
using Napi::Value;

struct Watch;

// What JavaScript holds. A closed one holds NULL.
struct WatchHandle {
    Watch *watch;
};

// Owned by the loop from watch_open() to watch_closed(), which comes after watch_end().
struct Watch {
    ky_watch *poll;      // NULL once it is ending
    WatchHandle *handle; // NULL when nobody holds it any more
    Napi::FunctionReference callback;
    napi_async_cleanup_hook_handle hook;
};

void watch_readable(void *ctx) {
    Watch *watch = static_cast<Watch *>(ctx);
    Env env = watch->callback.Env();
    Napi::HandleScope scope(env);
    napi_value result, error;
    // What the callback throws is nobody's to catch: it goes where such things go.
    if (napi_make_callback(env, nullptr, env.Global(), watch->callback.Value(), 0, nullptr,
                           &result) == napi_pending_exception &&
        napi_get_and_clear_last_exception(env, &error) == napi_ok)
        napi_fatal_exception(env, error);
}

void watch_closed(void *ctx) {
    Watch *watch = static_cast<Watch *>(ctx);
    napi_async_cleanup_hook_handle hook = watch->hook;
    delete watch;
    napi_remove_async_cleanup_hook(hook); // until then the environment waits for us
}

void watch_end(Watch *watch) {
    if (watch->handle != nullptr)
        watch->handle->watch = nullptr;
    watch->handle = nullptr;
    ky_watch *poll = watch->poll;
    watch->poll = nullptr;
    if (poll != nullptr)
        ky_watch_close(poll);
}

// (fd, callback): calls back once when fd is readable, and again after watchArm().
Value watch_open(const CallbackInfo &info) {
    Env env = info.Env();
    int fd;
    if (!get_fd(info, &fd))
        return env.Undefined();
    if (!info[1].IsFunction()) {
        bad(env, "callback", "a function");
        return env.Undefined();
    }
    uv_loop_s *loop = nullptr;
    Watch *watch = new Watch{nullptr, nullptr, {}, nullptr};
    auto on_end = [](napi_async_cleanup_hook_handle, void *w) {
        watch_end(static_cast<Watch *>(w));
    };
    int err = -ENOSYS;
    if (napi_get_uv_event_loop(env, &loop) == napi_ok &&
        napi_add_async_cleanup_hook(env, on_end, watch, &watch->hook) == napi_ok)
        err = ky_watch_open(loop, fd, watch_readable, watch_closed, watch, &watch->poll);
    if (err != 0) {
        if (watch->hook != nullptr)
            napi_remove_async_cleanup_hook(watch->hook);
        delete watch;
        throw_errno(env, "watch", err);
        return env.Undefined();
    }
    watch->callback = Napi::Persistent(info[1].As<Function>());
    watch->handle = new WatchHandle{watch};
    return External<WatchHandle>::New(env, watch->handle, [](Env, WatchHandle *handle) {
        if (handle->watch != nullptr)
            watch_end(handle->watch);
        delete handle;
    });
}

// The open watch behind the first argument; NULL after having thrown.
Watch *watch_of(const CallbackInfo &info) {
    if (info[0].IsExternal()) {
        Watch *watch = info[0].As<External<WatchHandle>>().Data()->watch;
        if (watch != nullptr)
            return watch;
    }
    TypeError::New(info.Env(), "not an open watch").ThrowAsJavaScriptException();
    return nullptr;
}

void watch_arm(const CallbackInfo &info) {
    Watch *watch = watch_of(info);
    if (watch == nullptr)
        return;
    int err = ky_watch_arm(watch->poll);
    if (err != 0)
        throw_errno(info.Env(), "watch", err);
}

void watch_close(const CallbackInfo &info) {
    Watch *watch = watch_of(info);
    if (watch != nullptr)
        watch_end(watch);
}

} // namespace

void add_watch_calls(Env env, Object exports) {
    exports.Set("watchOpen", Function::New(env, watch_open));
    exports.Set("watchArm", Function::New(env, watch_arm));
    exports.Set("watchClose", Function::New(env, watch_close));
}

} // namespace kersey
