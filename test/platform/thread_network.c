// unshare(CLONE_NEWNET) in a thread moves that thread alone: a TUN it makes is nowhere else, and the
// other threads stay where they were. The engine probes TUN features that way.
#include <pthread.h>
#include <sys/stat.h>

#include "platform.h"

static ino_t network_of(const char *path) {
    struct stat st;
    NEED(stat(path, &st) == 0);
    return st.st_ino;
}

static void *other(void *arg) {
    ino_t *inode = arg;
    own_network();
    (void)tun_open("ky-thread-0", IFF_TUN | IFF_NO_PI);
    *inode = network_of("/proc/thread-self/ns/net");
    if (if_nametoindex("ky-thread-0") == 0)
        FAIL("the thread does not see its own TUN");
    return NULL;
}

int main(void) {
    ino_t before = network_of("/proc/self/ns/net"), theirs = 0;
    pthread_t thread;
    NEED(pthread_create(&thread, NULL, other, &theirs) == 0);
    pthread_join(thread, NULL);
    if (theirs == before)
        FAIL("the thread stayed in the old namespace");
    if (network_of("/proc/thread-self/ns/net") != before)
        FAIL("the main thread moved too");
    if (if_nametoindex("ky-thread-0") != 0)
        FAIL("the thread's TUN is visible outside");
    SO("a namespace of its own for one thread");
}
