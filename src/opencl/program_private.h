/* What a program and its functions are inside. Private to src/opencl. */
#ifndef CLATTN_OPENCL_PROGRAM_PRIVATE_H
#define CLATTN_OPENCL_PROGRAM_PRIVATE_H

#include <stdatomic.h>

#include "base/hash.h"
#include "opencl/device_private.h"
#include "opencl/program.h"

struct clattn__function {
    cl_kernel kernel;                /* a reference */
    clattn__mutex lock;              /* guards its arguments, from setting to enqueueing */
    uint64_t absent;                 /* bits: arguments that are set, to no memory */
    struct clattn__program *program; /* borrowed */
    char name[64];
    struct clattn__function *next;
};

struct clattn__program {
    clattn__device *device; /* borrowed */
    clattn__hash request;   /* of files and macros: its key in memory */
    clattn__hash key;       /* of everything that matters: its key on disk */
    cl_program program;     /* a reference */
    char *label;            /* owned */
    bool built;             /* from source, in this process: to be stored when ready */
    atomic_bool ready;
    clattn__mutex lock;           /* guards `functions` */
    clattn__function *functions;  /* owned list */
    struct clattn__program *next; /* in the device's list */
};

#endif
