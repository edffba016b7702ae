// sd_notify(3) without libsystemd: one datagram to the socket that a service manager listens on.
#ifndef KY_NOTIFY_H
#define KY_NOTIFY_H

#include <stddef.h>

// Sends the message to a UNIX datagram socket, without waiting. `path` is absolute, or begins with
// '@' for an abstract address. 0; -EINVAL for another path, -ENAMETOOLONG, -EAGAIN when the
// receiver's queue is full, -ENOENT or -ECONNREFUSED when nobody listens, or another -errno.
int ky_notify(const char *path, const void *message, size_t len);

#endif
