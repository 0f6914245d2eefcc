/* Fills the function table: from the caller's get_proc, or from the library that the environment
 * names, or from the usual names. A library once opened stays open: drivers have threads. */
#include "opencl/loader.h"

#include <stdatomic.h>
#include <string.h>

#include "base/thread.h"
#include "base/variable.h"
#include "opencl/libraries.h"

/* A library, and how functions are found in it. */
typedef struct library {
    void *handle;
    void *(*pointer_of)(const char *name); /* NULL: as in any library */
} library;

static void *proc_of_library(void *user, const char *name)
{
    const library *of = user;
    return of->pointer_of ? of->pointer_of(name) : clattn__library_find(of->handle, name);
}

/* Android's library of Pixel phones has OpenCL behind two functions of its own. */
static void open_android_wrapper(library *opened)
{
    void (*enable)(void);
    void *address = clattn__library_find(opened->handle, "enableOpenCL");
    void *pointer_of = clattn__library_find(opened->handle, "loadOpenCLPointer");
    if (!address || !pointer_of)
        return;
    memcpy(&enable, &address, sizeof enable);
    enable();
    memcpy(&opened->pointer_of, &pointer_of, sizeof pointer_of);
}

static clattn_status open_named(const clattn__env *env, const char *named, library *opened)
{
    opened->handle = clattn__library_open(env, named);
    if (opened->handle)
        return CLATTN_OK;
    return clattn__fail(
        CLATTN_ERR_NO_OPENCL,
        "no OpenCL: %s (CLATTN_OPENCL_LIBRARY) could not be opened; unset it, or %s", named,
        clattn__libraries_here()->hint);
}

static clattn_status open_usual(const clattn__env *env, library *opened)
{
    const clattn__libraries *here = clattn__libraries_here();
    for (size_t i = 0; here->names[i]; i++) {
        opened->handle = clattn__library_open(env, here->names[i]);
        if (opened->handle)
            return CLATTN_OK;
    }
    return clattn__fail(CLATTN_ERR_NO_OPENCL, "no OpenCL: %s could not be opened; %s",
                        here->names[0], here->hint);
}

static clattn_status open_library(const clattn__env *env, library *opened)
{
    char *named = NULL;
    CLATTN__TRY(clattn__variable(env, "CLATTN_OPENCL_LIBRARY", &named));
    const clattn_status status = named ? open_named(env, named, opened) : open_usual(env, opened);
    clattn__free(env, named);
    if (status == CLATTN_OK)
        open_android_wrapper(opened);
    return status;
}

/* Addresses of functions and of data have one size wherever dlsym() exists (POSIX), and on Windows.
 */
#define LOAD(name)                                                                                 \
    do {                                                                                           \
        void *address = get_proc(user, #name);                                                     \
        memcpy(&table.name, &address, sizeof address);                                             \
    } while (0);

#define REQUIRE(name)                                                                              \
    if (!table.name)                                                                               \
        return clattn__fail(CLATTN_ERR_NO_OPENCL,                                                  \
                            "no OpenCL: the library lacks " #name                                  \
                            ", a function of OpenCL 1.2; %s",                                      \
                            clattn__libraries_here()->hint);

static clattn_status require_all(clattn__cl table)
{
    CLATTN__CL_REQUIRED(REQUIRE)
    return CLATTN_OK;
}

/* The process that opened OpenCL first, 0: none yet. A child of fork() has the driver's memory, but
 * not its threads: PoCL and others hang there at the first launch. */
static _Atomic uint64_t opened_by;

static clattn_status check_process(void)
{
    uint64_t first = 0;
    const uint64_t own = clattn__process_id();
    if (atomic_compare_exchange_strong(&opened_by, &first, own) || first == own)
        return CLATTN_OK;
    return clattn__fail(CLATTN_ERR_WRONG_PROCESS,
                        "OpenCL was opened by another process, before fork(), which it does not "
                        "survive; open it after fork() only, or start a new program");
}

clattn_status clattn__cl_load(const clattn__env *env, clattn__cl *cl)
{
    clattn_get_proc_fn get_proc = env->get_proc;
    void *user = env->get_proc_user;
    library opened = {NULL, NULL};
    if (!get_proc) {
        CLATTN__TRY(open_library(env, &opened));
        get_proc = proc_of_library;
        user = &opened;
    }
    clattn__cl table;
    CLATTN__CL_REQUIRED(LOAD)
    CLATTN__CL_OPTIONAL(LOAD)
    CLATTN__TRY(require_all(table));
    CLATTN__TRY(check_process());
    *cl = table;
    return CLATTN_OK;
}
