#include "sink.h"

#include <string.h>

#include "check.h"

struct sink *sink_new(void) {
    struct sink *s = calloc(1, sizeof *s);
    REQUIRE(s != NULL);
    s->bytes = malloc(SINK_BYTES);
    REQUIRE(s->bytes != NULL);
    return s;
}

void sink_free(struct sink *s) {
    free(s->bytes);
    free(s);
}

void sink_clear(struct sink *s) {
    s->count = 0;
    s->used = 0;
    s->refused = 0;
}

int sink_take(void *ctx, const struct iovec *iov, int n) {
    struct sink *s = ctx;
    REQUIRE(n >= 2 && iov[0].iov_len == sizeof(struct ky_vnet));
    struct sink_write w = {.packet = s->bytes + s->used};
    memcpy(&w.vnet, iov[0].iov_base, sizeof w.vnet);
    int err = s->refuse != 0 ? s->refuse : w.vnet.gso_type != 0 ? s->refuse_super : 0;
    if (err != 0) {
        s->refused++;
        return err;
    }
    for (int i = 1; i < n; i++) {
        REQUIRE(s->used + iov[i].iov_len <= SINK_BYTES);
        memcpy(s->bytes + s->used, iov[i].iov_base, iov[i].iov_len);
        s->used += iov[i].iov_len;
        w.len += iov[i].iov_len;
    }
    REQUIRE(s->count < SINK_WRITES);
    s->write[s->count++] = w;
    return 0;
}
