/* A context: environment and devices, and how many objects depend on them. A context of several
 * devices has a context for each but the first; these are nobody else's. What the one-call form
 * remembers is a guest of src/api. */
#ifndef CLATTN_PLAN_CONTEXT_H
#define CLATTN_PLAN_CONTEXT_H

#include <stdatomic.h>

#include "base/env.h"
#include "base/thread.h"
#include "opencl/device.h"

struct clattn__remembered; /* src/api/remembered.h */
struct clattn__tuning;     /* tuning.h */

struct clattn_context {
    clattn__env env;
    clattn__device *device;       /* the first one */
    struct clattn_context **peer; /* (peer_count) owned: each of one further device */
    uint32_t peer_count;
    struct clattn__tuning *tuning;         /* owned, constant; NULL: none */
    uint64_t process;                      /* generation of the one that made it */
    atomic_int live;                       /* plans, buffers, dispatchers of the caller */
    clattn__mutex lock;                    /* guards `remembered` */
    struct clattn__remembered *remembered; /* NULL before the first one-call attention */
};

/* CLATTN_ERR_ARGUMENT for NULL, CLATTN_ERR_WRONG_PROCESS after fork(). */
clattn_status clattn__context_check(const clattn_context *context);

/* Devices of the context, and the one of this number. */
uint32_t clattn__context_device_count(const clattn_context *context);
clattn__device *clattn__context_device(const clattn_context *context, uint32_t index);

/* Counts an object that must be gone before the context can be destroyed. */
void clattn__context_hold(clattn_context *context);
void clattn__context_drop(clattn_context *context);

#endif
