// Engines are held in Externals; an engine still open when its environment ends is closed by the
// External's finaliser.

#include "calls.h"
#include "convert.h"

#include <cerrno>
#include <cstring>
#include <vector>

extern "C" {
#include "../engine/checksum.h"
#include "../engine/engine.h"
}

namespace kersey {

namespace {

using Napi::Array;
using Napi::BigInt;
using Napi::Boolean;
using Napi::CallbackInfo;
using Napi::Env;
using Napi::External;
using Napi::Function;
using Napi::Number;
using Napi::Object;
using Napi::String;
using Napi::TypeError;
using Napi::Value;

// Engine pointer that survives close(): a closed handle holds NULL.
struct Handle {
    ky_engine *engine;
};

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

// Cuts the next field, which ends at `end`, off the text. Returns NULL, having thrown, when there is none.
char *next_field(Env env, char **text, char end) {
    char *field = *text, *stop = strchr(field, end);
    if (stop == nullptr) {
        bad(env, "peers", "lines of a prefix, an address and a MAC");
        return nullptr;
    }
    *stop = '\0';
    *text = stop + 1;
    return field;
}

// Peers on flannel's udp wire have no MAC; src/engine sees to it that the others do.
bool read_peer(Env env, char **text, ky_peer_spec *s) {
    char *prefix = next_field(env, text, ';');
    char *outer = prefix == nullptr ? nullptr : next_field(env, text, ';');
    char *mac = outer == nullptr ? nullptr : next_field(env, text, '\n');
    ky_prefix p;
    if (mac == nullptr || !parse_prefix(env, prefix, &p) || !parse_ip(env, outer, &s->outer))
        return false;
    s->prefix = p.ip;
    s->bits = p.bits;
    return *mac == '\0' || parse_mac(env, mac, s->mac);
}

// All peers come in one string: reading the properties of as many objects was most of what a large table cost.
// Their number is told apart, so that no text in the place of an address makes two peers of one.
bool read_peers(Env env, const Value &v, const Value &number, std::vector<ky_peer_spec> *out) {
    if (!v.IsString() || !number.IsNumber())
        return bad(env, "peers", "a string and a number");
    std::string text = v.As<String>().Utf8Value();
    size_t count = number.As<Number>().Uint32Value();
    out->reserve(count);
    for (char *at = text.data(); *at != '\0';) {
        ky_peer_spec s = {};
        if (!read_peer(env, &at, &s))
            return false;
        out->push_back(s);
    }
    return out->size() == count || bad(env, "peers", "as many lines as peers");
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
    if (engine == nullptr || !read_peers(env, info[1], info[2], &peers) ||
        !read_prefixes(env, info[3], &locals))
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

} // namespace

void add_engine_calls(Env env, Object exports) {
    exports.Set("engineOpen", Function::New(env, engine_open));
    exports.Set("engineSetPeers", Function::New(env, engine_set_peers));
    exports.Set("engineStats", Function::New(env, engine_stats));
    exports.Set("enginePeers", Function::New(env, engine_peers));
    exports.Set("engineFailed", Function::New(env, engine_failed));
    exports.Set("engineClose", Function::New(env, engine_close));
    exports.Set("probe", Function::New(env, probe));
    exports.Set("catalogue", Function::New(env, catalogue));
}

} // namespace kersey
