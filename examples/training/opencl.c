/* OpenCL's functions, by dlopen. */
#include "opencl.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "stop.h"

void *opencl_function(void *user, const char *name)
{
    return dlsym(user, name);
}

static void *need(const opencl *cl, const char *name)
{
    void *address = opencl_function(cl->library, name);
    if (!address)
        stop("OpenCL", "the library has no %s", name);
    return address;
}

void opencl_open(opencl *cl)
{
    const char *named = getenv("CLATTN_OPENCL_LIBRARY");
    void *address;
    cl->library = dlopen(named && *named ? named : "libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!cl->library)
        stop("OpenCL", "%s", dlerror());
        /* By memcpy, because C has no cast from an object's address to a function's. */
#define LOAD(name, parameters)                                                                     \
    address = need(cl, #name);                                                                     \
    memcpy(&cl->name, &address, sizeof address);
#define LOAD_OBJECT(type, name, parameters) LOAD(name, parameters)
    OPENCL_STATUS(LOAD)
    OPENCL_OBJECT(LOAD_OBJECT)
}
