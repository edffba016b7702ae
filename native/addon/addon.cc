// The thin face of the native library to JavaScript: converts values, checks types, and turns errno
// into exceptions with `step` and `errno` for src/engine to explain. No packet passes through here.
//
// All calls come from the thread of one JavaScript environment. Engines are held in Externals; an
// engine still open when its environment ends is closed by the External's finaliser. A watch belongs
// to the environment's loop, which has to run once more to let it go: it ends by a cleanup hook.

#include <napi.h>

#include <arpa/inet.h>
#include <chrono>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>
#include <vector>

extern "C" {
#include "../bench/microbench.h"
#include "../engine/checksum.h"
#include "../engine/engine.h"
#include "../system/lock.h"
#include "../system/netlink.h"
#include "../system/notify.h"
#include "watch.h"
}

namespace {

using Napi::Array;
using Napi::BigInt;
using Napi::Boolean;
using Napi::CallbackInfo;
using Napi::Env;
using Napi::Error;
using Napi::External;
using Napi::Function;
using Napi::Number;
using Napi::Object;
using Napi::String;
using Napi::TypeError;
using Napi::Uint8Array;
using Napi::Value;

// Engine pointer that survives close(): a closed handle holds NULL.
struct Handle {
    ky_engine *engine;
};

void throw_errno(Env env, const char *step, int err) {
    const char *name = strerrorname_np(-err);
    std::string text = std::string(step) + ": " + (name ? name : std::to_string(-err).c_str());
    Error error = Error::New(env, text);
    error.Set("step", String::New(env, step));
    error.Set("errno", Number::New(env, -err));
    error.Set("errnoName", String::New(env, name ? name : "unknown"));
    error.ThrowAsJavaScriptException();
}

// ---- conversions; each returns false after having thrown ----

bool bad(Env env, const char *what, const char *expected) {
    TypeError::New(env, std::string(what) + ": expected " + expected).ThrowAsJavaScriptException();
    return false;
}

bool get_string(Env env, const Object &o, const char *key, std::string *out) {
    Value v = o.Get(key);
    if (!v.IsString())
        return bad(env, key, "a string");
    *out = v.As<String>().Utf8Value();
    return true;
}

bool get_uint(Env env, const Object &o, const char *key, uint32_t max, uint32_t *out) {
    Value v = o.Get(key);
    double d = v.IsNumber() ? v.As<Number>().DoubleValue() : -1;
    if (!(d >= 0 && d <= max) || d != static_cast<uint32_t>(d))
        return bad(env, key, "a whole number in range");
    *out = static_cast<uint32_t>(d);
    return true;
}

bool get_bool(Env env, const Object &o, const char *key, bool *out) {
    Value v = o.Get(key);
    if (!v.IsBoolean())
        return bad(env, key, "a boolean");
    *out = v.As<Boolean>().Value();
    return true;
}

// Longer than any address, prefix or MAC: what is cut was none.
using Text = char[64];

// Without a copy on the heap and with a key made once: conversion is most of what a large table costs.
bool get_text(Env env, const Object &o, const String &key, const char *name, Text &out) {
    napi_value v;
    size_t len;
    if (napi_get_property(env, o, key, &v) == napi_ok &&
        napi_get_value_string_utf8(env, v, out, sizeof out, &len) == napi_ok && strlen(out) == len)
        return true;
    return env.IsExceptionPending() ? false : bad(env, name, "a string");
}

bool parse_ip(Env env, const char *text, ky_ip *out) {
    uint8_t bytes[16];
    if (inet_pton(AF_INET, text, bytes) == 1) {
        *out = ky_ip4(bytes);
        return true;
    }
    if (inet_pton(AF_INET6, text, bytes) == 1) {
        *out = ky_ip6(bytes);
        return true;
    }
    return bad(env, text, "an IP address");
}

bool parse_prefix(Env env, const char *text, ky_prefix *out) {
    Text address = "";
    const char *slash = strchr(text, '/');
    size_t len = slash == nullptr ? sizeof address : static_cast<size_t>(slash - text);
    if (len >= sizeof address)
        return bad(env, text, "a prefix");
    memcpy(address, text, len);
    if (!parse_ip(env, address, &out->ip))
        return false;
    bool v4 = ky_ip_is4(out->ip);
    char *end;
    unsigned long bits = strtoul(slash + 1, &end, 10);
    if (*end != '\0' || end == slash + 1 || bits > (v4 ? 32u : 128u))
        return bad(env, text, "a prefix");
    out->bits = static_cast<uint8_t>(v4 ? bits + KY_V4_BITS : bits);
    return true;
}

int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

// Six bytes of two digits. By hand: sscanf took 15 % of replacing a table of 10,000 peers.
bool parse_mac(Env env, const char *text, uint8_t out[6]) {
    bool good = strlen(text) == 17;
    for (int i = 0; good && i < 6; i++) {
        int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);
        good = high >= 0 && low >= 0 && (i == 5 || text[3 * i + 2] == ':');
        if (good)
            out[i] = static_cast<uint8_t>(high << 4 | low);
    }
    return good || bad(env, text, "a MAC address");
}

std::string format_ip(ky_ip ip) {
    char text[INET6_ADDRSTRLEN];
    if (ky_ip_is4(ip)) {
        in_addr v4 = {htonl(ky_ip_v4(ip))};
        inet_ntop(AF_INET, &v4, text, sizeof text);
    } else {
        inet_ntop(AF_INET6, ip.w, text, sizeof text);
    }
    return text;
}

bool parse_disabled(Env env, const Object &config, uint32_t *out) {
    Value v = config.Get("disable");
    if (!v.IsArray())
        return bad(env, "disable", "an array of feature names");
    Array names = v.As<Array>();
    for (uint32_t i = 0; i < names.Length(); i++) {
        std::string name = names.Get(i).ToString().Utf8Value();
        unsigned f = 0;
        while (f < KY_FEATURE_COUNT && name != ky_feature_names[f])
            f++;
        if (f == KY_FEATURE_COUNT)
            return bad(env, name.c_str(), "the name of a feature");
        *out |= 1u << f;
    }
    return true;
}

// ---- engine ----

// What only VXLAN has.
bool read_vxlan(Env env, const Object &o, ky_engine_config *c) {
    std::string mac;
    return get_uint(env, o, "vni", KY_VNI_MAX, &c->vni) && get_string(env, o, "vtepMac", &mac) &&
           parse_mac(env, mac.c_str(), c->mac);
}

bool read_wire(Env env, const Object &o, ky_engine_config *c) {
    std::string wire;
    if (!get_string(env, o, "wire", &wire))
        return false;
    if (wire == "vxlan")
        return read_vxlan(env, o, c);
    c->wire = KY_WIRE_RAWIP;
    return wire == "udp" || bad(env, "wire", "'vxlan' or 'udp'");
}

bool read_config(Env env, const Object &o, ky_engine_config *c) {
    std::string device, local;
    uint32_t port = 0, workers = 0;
    bool check = true;
    if (!get_string(env, o, "device", &device) || !get_string(env, o, "local", &local) ||
        !read_wire(env, o, c) || !get_uint(env, o, "port", 65535, &port) ||
        !get_uint(env, o, "mtu", 65535, &c->mtu) ||
        !get_uint(env, o, "workers", KY_WORKERS_MAX, &workers) ||
        !get_bool(env, o, "allowUnknownSources", &c->allow_unknown_sources) ||
        !get_bool(env, o, "innerSourceCheck", &check) || !parse_ip(env, local.c_str(), &c->local) ||
        !parse_disabled(env, o, &c->disable))
        return false;
    if (device.empty() || device.size() >= IFNAMSIZ)
        return bad(env, "device", "a name of 1 to 15 bytes");
    memcpy(c->device, device.c_str(), device.size() + 1);
    c->port = static_cast<uint16_t>(port);
    c->workers = workers;
    c->no_inner_source_check = !check;
    return true;
}

Value engine_open(const CallbackInfo &info) {
    Env env = info.Env();
    ky_engine_config config = {};
    if (!info[0].IsObject()) {
        bad(env, "config", "an object");
        return env.Undefined();
    }
    if (!read_config(env, info[0].As<Object>(), &config))
        return env.Undefined();
    ky_engine *engine;
    ky_fault fault;
    if (ky_engine_open(&config, &engine, &fault) != 0) {
        throw_errno(env, fault.step, fault.err);
        return env.Undefined();
    }
    return External<Handle>::New(env, new Handle{engine}, [](Env, Handle *h) {
        ky_engine_close(h->engine);
        delete h;
    });
}

// The open engine behind the first argument; NULL after having thrown.
ky_engine *engine_of(const CallbackInfo &info) {
    if (info[0].IsExternal()) {
        ky_engine *engine = info[0].As<External<Handle>>().Data()->engine;
        if (engine != nullptr)
            return engine;
    }
    TypeError::New(info.Env(), "not an open engine").ThrowAsJavaScriptException();
    return nullptr;
}

struct PeerKeys {
    String prefix, outer, mac;
};

bool read_peer(Env env, const Object &o, const PeerKeys &keys, ky_peer_spec *s) {
    Text prefix, outer, mac;
    ky_prefix p;
    if (!get_text(env, o, keys.prefix, "prefix", prefix) || !parse_prefix(env, prefix, &p) ||
        !get_text(env, o, keys.outer, "outer", outer) || !parse_ip(env, outer, &s->outer))
        return false;
    s->prefix = p.ip;
    s->bits = p.bits;
    // Peers on flannel's udp wire have none; src/engine sees to it that the others do.
    return o.Get(keys.mac).IsUndefined() ||
           (get_text(env, o, keys.mac, "vtepMac", mac) && parse_mac(env, mac, s->mac));
}

bool read_peers(Env env, const Value &v, std::vector<ky_peer_spec> *out) {
    if (!v.IsArray())
        return bad(env, "peers", "an array");
    Array array = v.As<Array>();
    PeerKeys keys = {String::New(env, "prefix"), String::New(env, "outer"),
                     String::New(env, "vtepMac")};
    out->resize(array.Length());
    for (uint32_t i = 0; i < array.Length(); i++) {
        Napi::HandleScope scope(env); // 65,536 peers make as many temporaries
        Value item = array.Get(i);
        if (!item.IsObject())
            return bad(env, "peers", "objects");
        if (!read_peer(env, item.As<Object>(), keys, &(*out)[i]))
            return false;
    }
    return true;
}

bool read_prefixes(Env env, const Value &v, std::vector<ky_prefix> *out) {
    if (!v.IsArray())
        return bad(env, "local", "an array");
    Array array = v.As<Array>();
    out->resize(array.Length());
    for (uint32_t i = 0; i < array.Length(); i++)
        if (!parse_prefix(env, array.Get(i).ToString().Utf8Value().c_str(), &(*out)[i]))
            return false;
    return true;
}

void engine_set_peers(const CallbackInfo &info) {
    Env env = info.Env();
    ky_engine *engine = engine_of(info);
    std::vector<ky_peer_spec> peers;
    std::vector<ky_prefix> locals;
    if (engine == nullptr || !read_peers(env, info[1], &peers) ||
        !read_prefixes(env, info[2], &locals))
        return;
    size_t duplicate = 0;
    int err = ky_engine_set_peers(engine, peers.data(), peers.size(), locals.data(), locals.size(),
                                  &duplicate);
    if (err == 0)
        return;
    throw_errno(env, err == -EEXIST ? "peers-duplicate" : "peers", err);
}

Object named_counters(Env env, const char *const *names, const uint64_t *values, unsigned count) {
    Object o = Object::New(env);
    for (unsigned i = 0; i < count; i++)
        o.Set(names[i], BigInt::New(env, values[i]));
    return o;
}

Array features(Env env, const ky_feature_state *states) {
    Array a = Array::New(env, KY_FEATURE_COUNT);
    for (uint32_t i = 0; i < KY_FEATURE_COUNT; i++) {
        Object o = Object::New(env);
        o.Set("name", ky_feature_names[i]);
        o.Set("on", Boolean::New(env, states[i].on));
        o.Set("reason", states[i].reason);
        a.Set(i, o);
    }
    return a;
}

Value engine_stats(const CallbackInfo &info) {
    Env env = info.Env();
    ky_engine *engine = engine_of(info);
    if (engine == nullptr)
        return env.Undefined();
    ky_engine_stats stats;
    ky_engine_stats_read(engine, &stats);
    Object o = Object::New(env);
    o.Set("counters", named_counters(env, ky_counter_names, stats.counters, KY_COUNTER_COUNT));
    o.Set("drops", named_counters(env, ky_drop_names, stats.drops, KY_DROP_COUNT));
    o.Set("features", features(env, stats.features));
    const char *name = stats.failed != 0 ? strerrorname_np(stats.failed) : nullptr;
    o.Set("failed", stats.failed == 0 ? env.Null() : String::New(env, name ? name : "unknown"));
    return o;
}

Value engine_peers(const CallbackInfo &info) {
    Env env = info.Env();
    ky_engine *engine = engine_of(info);
    if (engine == nullptr)
        return env.Undefined();
    size_t count = ky_engine_peer_count(engine);
    Array a = Array::New(env, count);
    for (size_t i = 0; i < count; i++) {
        Napi::HandleScope scope(env);
        ky_peer_stats s;
        ky_engine_peer_stats(engine, i, &s);
        unsigned bits = ky_ip_is4(s.prefix) ? s.bits - KY_V4_BITS : s.bits;
        Object o = Object::New(env);
        o.Set("prefix", format_ip(s.prefix) + "/" + std::to_string(bits));
        o.Set("outer", format_ip(s.outer));
        o.Set("txPackets", BigInt::New(env, s.tx_packets));
        o.Set("txBytes", BigInt::New(env, s.tx_bytes));
        o.Set("rxPackets", BigInt::New(env, s.rx_packets));
        o.Set("rxBytes", BigInt::New(env, s.rx_bytes));
        a.Set(static_cast<uint32_t>(i), o);
    }
    return a;
}

// Whether the workers gave up: the errno's name, or null. Cheap: called at every reconcile.
Value engine_failed(const CallbackInfo &info) {
    Env env = info.Env();
    ky_engine *engine = engine_of(info);
    if (engine == nullptr)
        return env.Undefined();
    int err = ky_engine_failed(engine);
    const char *name = err != 0 ? strerrorname_np(err) : nullptr;
    return err == 0 ? env.Null() : String::New(env, name ? name : "unknown");
}

void engine_close(const CallbackInfo &info) {
    ky_engine *engine = engine_of(info);
    if (engine == nullptr)
        return;
    info[0].As<External<Handle>>().Data()->engine = nullptr;
    ky_engine_close(engine);
}

Value probe(const CallbackInfo &info) {
    Env env = info.Env();
    ky_probe p;
    int err = ky_probe_run(&p, true);
    if (err != 0) {
        throw_errno(env, "thread", err);
        return env.Undefined();
    }
    Object o = Object::New(env);
    o.Set("features", features(env, p.feature));
    o.Set("framesMax", Number::New(env, p.frames_max));
    o.Set("isolated", Boolean::New(env, p.isolated));
    o.Set("checksum", ky_sum_variant());
    return o;
}

Array catalogue_of(Env env, const char *const *names, const char *const *texts, uint32_t count) {
    Array a = Array::New(env, count);
    for (uint32_t i = 0; i < count; i++) {
        Object o = Object::New(env);
        o.Set("name", names[i]);
        o.Set("text", texts[i]);
        a.Set(i, o);
    }
    return a;
}

// The closed lists that C owns, for status, metrics and docs.
Value catalogue(const CallbackInfo &info) {
    Env env = info.Env();
    Object o = Object::New(env);
    o.Set("drops", catalogue_of(env, ky_drop_names, ky_drop_texts, KY_DROP_COUNT));
    o.Set("counters", catalogue_of(env, ky_counter_names, ky_counter_texts, KY_COUNTER_COUNT));
    o.Set("features", catalogue_of(env, ky_feature_names, ky_feature_texts, KY_FEATURE_COUNT));
    return o;
}

// ---- system ----

bool get_fd(const CallbackInfo &info, int *fd) {
    if (!info[0].IsNumber())
        return bad(info.Env(), "fd", "a file descriptor");
    *fd = info[0].As<Number>().Int32Value();
    return true;
}

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

// ---- watches ----

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

// ---- microbenchmarks ----

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

Object init(Env env, Object exports) {
    exports.Set("engineOpen", Function::New(env, engine_open));
    exports.Set("engineSetPeers", Function::New(env, engine_set_peers));
    exports.Set("engineStats", Function::New(env, engine_stats));
    exports.Set("enginePeers", Function::New(env, engine_peers));
    exports.Set("engineFailed", Function::New(env, engine_failed));
    exports.Set("engineClose", Function::New(env, engine_close));
    exports.Set("probe", Function::New(env, probe));
    exports.Set("catalogue", Function::New(env, catalogue));
    exports.Set("netlinkOpen", Function::New(env, netlink_open));
    exports.Set("netlinkRequest", Function::New(env, netlink_request));
    exports.Set("netlinkReceive", Function::New(env, netlink_receive));
    exports.Set("netlinkClose", Function::New(env, netlink_close));
    exports.Set("watchOpen", Function::New(env, watch_open));
    exports.Set("watchArm", Function::New(env, watch_arm));
    exports.Set("watchClose", Function::New(env, watch_close));
    exports.Set("tryLock", Function::New(env, try_lock));
    exports.Set("unlock", Function::New(env, unlock));
    exports.Set("notify", Function::New(env, notify));
    exports.Set("microbenches", Function::New(env, microbenches));
    return exports;
}

NODE_API_MODULE(kersey, init)

} // namespace
