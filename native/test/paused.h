// Doing something while this whole program stands still: what is sent to the engine meanwhile waits in
// its queues, and it finds all of it at once when it wakes up.
#ifndef KY_TEST_PAUSED_H
#define KY_TEST_PAUSED_H

#include <stdbool.h>

// Runs act in a child process while every thread of this one is stopped. The child may use what it
// inherits, descriptors and memory as it was, and reports with its return value: whether it succeeded.
bool while_paused(bool (*act)(void *ctx), void *ctx);

#endif
