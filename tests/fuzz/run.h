/* Hands a problem to the library. */
#ifndef FUZZ_RUN_H
#define FUZZ_RUN_H

#include "memory.h"

/* A kernel on a device. */
typedef struct fuzz_target {
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    const char *kernel; /* borrowed */
    uint32_t device;    /* in the order of clattn_device_list */
    bool must_accept;   /* declining is a failure */
    uint32_t every;     /* problems of which it gets one; 1: all */
    uint64_t ran, declined;
} fuzz_target;

/* Whether the problem's turn is the target's, and the kernel one of gradients or of the highest
 * scores where the problem is: other kernels run what is not theirs with the library's choice. */
bool fuzz_is_for(const fuzz_target *t, const fuzz_problem *p);

/* Runs by p->path on the set; outputs land in it. What went wrong goes to message: (size). */
clattn_status fuzz_run(const fuzz_target *t, const fuzz_problem *p, fuzz_set *set, char *message,
                       size_t size);

#endif
