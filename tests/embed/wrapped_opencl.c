/* An OpenCL library as Android's Pixel phones have it: no function of OpenCL to be found by name,
 * and two of its own, which hand them out, once the first was called. */
#include <dlfcn.h>
#include <stddef.h>

void enableOpenCL(void);
void *loadOpenCLPointer(const char *name);

static void *library;

__attribute__((visibility("default"))) void enableOpenCL(void)
{
    library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
}

__attribute__((visibility("default"))) void *loadOpenCLPointer(const char *name)
{
    return library ? dlsym(library, name) : NULL;
}
