#include "calls.h"
#include "convert.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>
#include <vector>

extern "C" {
#include "../system/lock.h"
#include "../system/netlink.h"
#include "../system/notify.h"
}

namespace kersey {

namespace {

using Napi::Boolean;
using Napi::CallbackInfo;
using Napi::Env;
using Napi::Function;
using Napi::Number;
using Napi::Object;
using Napi::String;
using Napi::TypeError;
using Napi::Uint8Array;
using Napi::Value;

Value netlink_open(const CallbackInfo &info) {
    Env env = info.Env();
    if (!info[0].IsNumber() || !info[1].IsNumber()) {
        bad(env, "netlinkOpen", "protocol and groups");
        return env.Undefined();
    }
    int fd;
    int err =
        ky_netlink_open(info[0].As<Number>().Int32Value(), info[1].As<Number>().Uint32Value(), &fd);
    if (err != 0) {
        throw_errno(env, "netlink-open", err);
        return env.Undefined();
    }
    return Number::New(env, fd);
}

Value copy_bytes(Env env, const uint8_t *bytes, size_t len) {
    Uint8Array a = Uint8Array::New(env, len);
    if (len > 0)
        memcpy(a.Data(), bytes, len);
    return a;
}

Value netlink_request(const CallbackInfo &info) {
    Env env = info.Env();
    int fd;
    if (!get_fd(info, &fd))
        return env.Undefined();
    if (!info[1].IsTypedArray()) {
        bad(env, "request", "a Uint8Array");
        return env.Undefined();
    }
    Uint8Array request = info[1].As<Uint8Array>();
    uint8_t *reply;
    size_t len;
    int err = ky_netlink_request(fd, request.Data(), request.ByteLength(), &reply, &len);
    if (err != 0) {
        throw_errno(env, "netlink-request", err);
        return env.Undefined();
    }
    Value value = copy_bytes(env, reply, len);
    free(reply);
    return value;
}

Value netlink_receive(const CallbackInfo &info) {
    Env env = info.Env();
    int fd;
    if (!get_fd(info, &fd))
        return env.Undefined();
    std::vector<uint8_t> buf(KY_NETLINK_DATAGRAM_MAX);
    size_t len;
    int err = ky_netlink_receive(fd, buf.data(), buf.size(), &len);
    if (err != 0) {
        throw_errno(env, "netlink-receive", err);
        return env.Undefined();
    }
    return len == 0 ? env.Undefined() : copy_bytes(env, buf.data(), len);
}

void netlink_close(const CallbackInfo &info) {
    int fd;
    if (get_fd(info, &fd))
        close(fd);
}

Value try_lock(const CallbackInfo &info) {
    Env env = info.Env();
    int fd;
    if (!get_fd(info, &fd))
        return env.Undefined();
    int err = ky_lock(fd);
    if (err != 0 && err != -EWOULDBLOCK) {
        throw_errno(env, "lock", err);
        return env.Undefined();
    }
    return Boolean::New(env, err == 0);
}

void unlock(const CallbackInfo &info) {
    int fd;
    if (!get_fd(info, &fd))
        return;
    int err = ky_unlock(fd);
    if (err != 0)
        throw_errno(info.Env(), "unlock", err);
}

void notify(const CallbackInfo &info) {
    Env env = info.Env();
    if (info.Length() < 2 || !info[0].IsString() || !info[1].IsString()) {
        TypeError::New(env, "expected a path and a message").ThrowAsJavaScriptException();
        return;
    }
    std::string path = info[0].As<String>(), message = info[1].As<String>();
    int err = path.find('\0') == std::string::npos
                  ? ky_notify(path.c_str(), message.data(), message.size())
                  : -EINVAL;
    if (err != 0)
        throw_errno(env, "notify", err);
}

} // namespace

void add_system_calls(Env env, Object exports) {
    exports.Set("netlinkOpen", Function::New(env, netlink_open));
    exports.Set("netlinkRequest", Function::New(env, netlink_request));
    exports.Set("netlinkReceive", Function::New(env, netlink_receive));
    exports.Set("netlinkClose", Function::New(env, netlink_close));
    exports.Set("tryLock", Function::New(env, try_lock));
    exports.Set("unlock", Function::New(env, unlock));
    exports.Set("notify", Function::New(env, notify));
}

} // namespace kersey
