/* For tests that put something before functions of OpenCL: where the library's own are. */
#ifndef TESTS_REAL_CL_H
#define TESTS_REAL_CL_H

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef void(any_function)(void);

/* NULL: the library, CLATTN_OPENCL_LIBRARY or the system's, has none of this name. */
static inline any_function *real_cl_load(const char *name)
{
    static void *library;
    const char *named = getenv("CLATTN_OPENCL_LIBRARY");
    any_function *found = NULL;
    if (!library)
        library = dlopen(named && *named ? named : "libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    void *address = library ? dlsym(library, name) : NULL;
    memcpy(&found, &address, sizeof found);
    return found;
}

#endif
