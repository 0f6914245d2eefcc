/* Programs: resolved sources + macros, built once per device, shared, kept in memory until the
 * device closes, and on disk (program_cache.h). Any thread; two threads that ask for the same
 * program build it once. */
#ifndef CLATTN_OPENCL_PROGRAM_H
#define CLATTN_OPENCL_PROGRAM_H

#include "opencl/device.h"
#include "opencl/source.h"

typedef struct clattn__program clattn__program;
/* A kernel of a program: a cl_kernel and the lock around setting its arguments. Owned by the
 * program. */
typedef struct clattn__function clattn__function;

typedef struct clattn__program_request {
    clattn__source_list sources;
    const char *macros; /* "-D VEC=16 -D ROWS=6" */
    const char *label;  /* for the log and the cache's list */
    bool tiles;         /* a work-item has a tile of sums in registers */
} clattn__program_request;

/* *from_cache (may be NULL) says whether nothing was compiled from source. CLATTN_ERR_BUILD has
 * the build log's first lines in its message, with the original files and lines. */
clattn_status clattn__program_get(clattn__device *device, const clattn__program_request *request,
                                  clattn__program **program, bool *from_cache);

/* Devices with caps.lazy_compile compile a kernel at its first launch. Whoever got a program that
 * is not ready launches each of its kernels once without work and then calls program_ready, which
 * ends the crash marker and stores the program in the cache. Elsewhere a program is always ready.
 */
bool clattn__program_is_ready(const clattn__program *program);
void clattn__program_ready(clattn__program *program);

/* The kernel of this name, valid as long as the program. CLATTN_ERR_INTERNAL if there is none. */
clattn_status clattn__program_function(clattn__program *program, const char *name,
                                       clattn__function **function);

#endif
