#define _GNU_SOURCE
#include "notify.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int ky_notify(const char *path, const void *message, size_t len) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t path_len = strlen(path);
    if (path_len < 2 || (path[0] != '/' && path[0] != '@'))
        return -EINVAL;
    // Neither kind needs a zero at its end: the length of the address says where that is.
    if (path_len > sizeof(to.sun_path))
        return -ENAMETOOLONG;
    memcpy(to.sun_path, path, path_len);
    if (path[0] == '@')
        to.sun_path[0] = '\0';
    socklen_t to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_len);

    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    ssize_t sent;
    do
        sent =
            sendto(fd, message, len, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&to, to_len);
    while (sent < 0 && errno == EINTR);
    int err = sent < 0 ? -errno : 0;
    close(fd);
    return err;
}
