/* What a public buffer is inside; made and destroyed by src/api/buffers.c. */
#ifndef CLATTN_PLAN_BUFFER_H
#define CLATTN_PLAN_BUFFER_H

#include "opencl/memory.h"
#include "plan/context.h"

struct clattn_buffer {
    clattn_context *context; /* borrowed, held */
    clattn__memory *memory;  /* a reference */
    const void *host;        /* memory that was wrapped, NULL: none */
    clattn__mutex lock;      /* guards `mapped` */
    void *mapped;            /* NULL: not mapped */
};

#endif
