#include "convert.h"

#include <arpa/inet.h>
#include <cctype>
#include <cstdlib>
#include <cstring>

namespace kersey {

using Napi::Boolean;
using Napi::CallbackInfo;
using Napi::Env;
using Napi::Error;
using Napi::Number;
using Napi::Object;
using Napi::String;
using Napi::TypeError;
using Napi::Value;

namespace {

int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

} // namespace

void throw_errno(Env env, const char *step, int err) {
    const char *name = strerrorname_np(-err);
    std::string text = std::string(step) + ": " + (name ? name : std::to_string(-err).c_str());
    Error error = Error::New(env, text);
    error.Set("step", String::New(env, step));
    error.Set("errno", Number::New(env, -err));
    error.Set("errnoName", String::New(env, name ? name : "unknown"));
    error.ThrowAsJavaScriptException();
}

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
    if (!isdigit(static_cast<unsigned char>(slash[1])) || *end != '\0' || bits > (v4 ? 32u : 128u))
        return bad(env, text, "a prefix");
    out->bits = static_cast<uint8_t>(v4 ? bits + KY_V4_BITS : bits);
    return true;
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

bool get_fd(const CallbackInfo &info, int *fd) {
    if (!info[0].IsNumber())
        return bad(info.Env(), "fd", "a file descriptor");
    *fd = info[0].As<Number>().Int32Value();
    return true;
}

} // namespace kersey
