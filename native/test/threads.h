// What the kernel says of the engines' threads in this process.
#ifndef KY_TEST_THREADS_H
#define KY_TEST_THREADS_H

struct threads {
    unsigned count, asleep;
    unsigned long switches; // times that they left the processor, by themselves or not
};

struct threads threads_look(void);

// Returns when all are asleep: what they had in hand is done and counted. Fails the test after 10 s.
void threads_rest(void);

#endif
