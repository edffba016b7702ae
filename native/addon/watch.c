// libuv is inside Node, and its header comes with Node's; but a build that has only node-api-headers (cmake-js) lacks
// it. So what is used of it is declared here: functions whose names, arguments and numbers are fixed for all of
// libuv 1, the accessors made for such use (uv_handle_size, uv_handle_get_data). That 8 is a poll handle is asked.
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    UV_POLL = 8,
    UV_READABLE = 1,
};

struct uv_poll_s;   // both begin with the same members, so a uv_poll_s is used as a
struct uv_handle_s; // uv_handle_s, by a cast
typedef void (*uv_poll_cb)(struct uv_poll_s *handle, int status, int events);

size_t uv_handle_size(int type);
const char *uv_handle_type_name(int type);
void *uv_handle_get_data(const struct uv_handle_s *handle);
void uv_handle_set_data(struct uv_handle_s *handle, void *data);
void uv_unref(struct uv_handle_s *handle);
void uv_close(struct uv_handle_s *handle, void (*closed)(struct uv_handle_s *handle));
int uv_poll_init(struct uv_loop_s *loop, struct uv_poll_s *handle, int fd);
int uv_poll_start(struct uv_poll_s *handle, int events, uv_poll_cb cb);
int uv_poll_stop(struct uv_poll_s *handle);

struct ky_watch {
    struct uv_poll_s *poll;
    void (*readable)(void *ctx);
    void (*closed)(void *ctx);
    void *ctx;
};

static struct uv_handle_s *handle_of(const ky_watch *w) {
    return (struct uv_handle_s *)w->poll;
}

static void on_readable(struct uv_poll_s *poll, int status, int events) {
    (void)status; // UV_EBADF for POLLERR, which netlink raises when it has lost events
    (void)events;
    ky_watch *w = uv_handle_get_data((struct uv_handle_s *)poll);
    (void)uv_poll_stop(poll);
    w->readable(w->ctx);
}

static void on_closed(struct uv_handle_s *handle) {
    ky_watch *w = uv_handle_get_data(handle);
    void (*closed)(void *) = w->closed;
    void *ctx = w->ctx;
    free(w->poll);
    free(w);
    closed(ctx);
}

static void discard(ky_watch *w) {
    if (w != NULL)
        free(w->poll);
    free(w);
}

int ky_watch_open(struct uv_loop_s *loop, int fd, void (*readable)(void *ctx),
                  void (*closed)(void *ctx), void *ctx, ky_watch **out) {
    const char *name = uv_handle_type_name(UV_POLL);
    if (name == NULL || strcmp(name, "poll") != 0)
        return -ENOSYS;
    ky_watch *w = calloc(1, sizeof *w);
    if (w == NULL || (w->poll = calloc(1, uv_handle_size(UV_POLL))) == NULL) {
        discard(w);
        return -ENOMEM;
    }
    w->readable = readable;
    w->closed = closed;
    w->ctx = ctx;
    int err = uv_poll_init(loop, w->poll, fd);
    if (err != 0) { // then the loop does not know the handle
        discard(w);
        return err;
    }
    uv_handle_set_data(handle_of(w), w);
    uv_unref(handle_of(w));
    (void)ky_watch_arm(w); // cannot fail for a handle that has just been made
    *out = w;
    return 0;
}

int ky_watch_arm(ky_watch *w) {
    return uv_poll_start(w->poll, UV_READABLE, on_readable);
}

void ky_watch_close(ky_watch *w) {
    (void)uv_poll_stop(w->poll); // here the loop lets go of fd
    uv_close(handle_of(w), on_closed);
}
