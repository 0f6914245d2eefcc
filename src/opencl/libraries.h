/* Where OpenCL is found on each system. */
#ifndef CLATTN_OPENCL_LIBRARIES_H
#define CLATTN_OPENCL_LIBRARIES_H

#include <stddef.h>

typedef struct clattn__libraries {
    const char *system;
    const char *const *names; /* tried in this order; NULL ends them */
    const char *hint;         /* how a user gets it: "install ..." */
} clattn__libraries;

/* All systems, on any of them: they are tested as a table. */
extern const clattn__libraries clattn__all_libraries[];
extern const size_t clattn__all_libraries_count;

/* The row of the system that this is compiled for. */
const clattn__libraries *clattn__libraries_here(void);

#endif
