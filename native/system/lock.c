#include "lock.h"

#include <errno.h>
#include <sys/file.h>

static int flock_again(int fd, int operation) {
    while (flock(fd, operation) != 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int ky_lock(int fd) {
    return flock_again(fd, LOCK_EX | LOCK_NB);
}

int ky_unlock(int fd) {
    return flock_again(fd, LOCK_UN);
}
