// Tells when a file descriptor is readable, from the loop of a JavaScript environment (libuv's uv_poll_t).
//
// One shot: having told once a watch sleeps, and costs nothing, until it is armed again. So whoever is told may
// leave what there is for later, and a descriptor on which something always waits does not keep the loop busy.
//
// A watch keeps neither loop nor process alive. All calls come from the thread of the loop.
#ifndef KY_WATCH_H
#define KY_WATCH_H

struct uv_loop_s;

typedef struct ky_watch ky_watch;

// Watches fd, armed, and makes it non-blocking. `readable` is also called when the descriptor is in error, which
// whoever reads it then learns. 0, -EEXIST when this loop watches it already, -EPERM where it cannot be waited for
// (a file), -ENOMEM, or another -errno.
int ky_watch_open(struct uv_loop_s *loop, int fd, void (*readable)(void *ctx),
                  void (*closed)(void *ctx), void *ctx, ky_watch **out);

// Tells once more, at once if something waits already.
int ky_watch_arm(ky_watch *watch);

// `readable` is not called again, and fd may be closed when this returns, not before. The loop calls `closed` a little
// later, and the watch is gone. May be called from `readable`, once.
void ky_watch_close(ky_watch *watch);

#endif
