/* Shared libraries on POSIX systems. */
#include <dlfcn.h>

#include "opencl/loader.h"

void *clattn__library_open(const clattn__env *env, const char *name)
{
    (void)env;
    return dlopen(name, RTLD_NOW | RTLD_LOCAL);
}

void *clattn__library_find(void *library, const char *name)
{
    return dlsym(library, name);
}
