#include "paused.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static char state_of(pid_t pid, const char *tid) {
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/task/%.16s/stat", (int)pid, tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return '?';
    text[n] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end == NULL || name_end[1] == '\0' ? '?' : name_end[2];
}

static bool all_stopped(pid_t pid) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return false;
    bool all = true;
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.')
            all = all && state_of(pid, e->d_name) == 'T';
    closedir(dir);
    return all;
}

bool while_paused(bool (*act)(void *ctx), void *ctx) {
    pid_t self = getpid(), child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        bool ok = kill(self, SIGSTOP) == 0;
        for (int i = 0; ok && i < 5000 && !all_stopped(self); i++)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        ok = ok && all_stopped(self) && act(ctx);
        kill(self, SIGCONT);
        _exit(ok ? 0 : 1);
    }
    int status;
    pid_t ended;
    while ((ended = waitpid(child, &status, 0)) < 0 && errno == EINTR)
        ;
    return ended == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
