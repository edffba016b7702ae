// Values of JavaScript to and from those of C, and errno to exceptions with `step` and `errno` for
// src/engine to explain. What answers with a bool has thrown when it is false.
#ifndef KERSEY_CONVERT_H
#define KERSEY_CONVERT_H

#include <napi.h>

#include <string>

extern "C" {
#include "../engine/engine.h"
}

namespace kersey {

// -errno, at the named step.
void throw_errno(Napi::Env env, const char *step, int err);

// Always false, having thrown that `what` should be what is `expected`.
bool bad(Napi::Env env, const char *what, const char *expected);

bool get_string(Napi::Env env, const Napi::Object &o, const char *key, std::string *out);
bool get_uint(Napi::Env env, const Napi::Object &o, const char *key, uint32_t max, uint32_t *out);
bool get_bool(Napi::Env env, const Napi::Object &o, const char *key, bool *out);
// The first argument of a call.
bool get_fd(const Napi::CallbackInfo &info, int *fd);

// Longer than any address, prefix or MAC: what is cut was none.
using Text = char[64];

bool parse_ip(Napi::Env env, const char *text, ky_ip *out);
bool parse_prefix(Napi::Env env, const char *text, ky_prefix *out);
bool parse_mac(Napi::Env env, const char *text, uint8_t out[6]);

std::string format_ip(ky_ip ip);

} // namespace kersey

#endif
