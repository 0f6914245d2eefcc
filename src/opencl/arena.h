/* Arenas: large cl_mems from which slices are handed out. Private to src/opencl. */
#ifndef CLATTN_OPENCL_ARENA_H
#define CLATTN_OPENCL_ARENA_H

#include "opencl/views.h"

/* Slices begin at multiples of this, or of the device's own alignment if that is more. */
#define CLATTN__SLICE_ALIGNMENT 4096u

typedef struct clattn__hole {
    uint64_t offset, size;
    struct clattn__hole *next; /* in ascending order of offset */
} clattn__hole;

typedef struct clattn__arena {
    cl_mem mem;           /* a reference, or that of a view */
    clattn__views *views; /* owned; NULL: the device has no peers */
    uint64_t size;
    uint64_t used;       /* bytes in slices */
    clattn__hole *holes; /* owned list of what is free */
    struct clattn__arena *next;
} clattn__arena;

/* A slice of `size` bytes (rounded up by the function). With the memory lock held. */
clattn_status clattn__arena_take(clattn__device *device, uint64_t size, clattn__arena **arena,
                                 uint64_t *offset);
void clattn__arena_give_back(clattn__device *device, clattn__arena *arena, uint64_t offset,
                             uint64_t size);

#endif
