/* Fills the function table: from the caller's get_proc, or from the library that the environment
 * names, or from the usual names. A library once opened stays open: drivers have threads. */
#include "opencl/loader.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"

static const char *const library_names[] = {
    "libOpenCL.so.1",
    "libOpenCL.so",
    "/System/Library/Frameworks/OpenCL.framework/OpenCL",
};

#define INSTALL_HINT                                                                               \
    "install it with your graphics driver, or for the CPU on Debian and Ubuntu: apt install "      \
    "ocl-icd-libopencl1 pocl-opencl-icd"

static void *proc_of_library(void *library, const char *name)
{
    return clattn__library_find(library, name);
}

static clattn_status open_library(void **library)
{
    const char *named = getenv("CLATTN_OPENCL_LIBRARY");
    if (named && *named) {
        *library = clattn__library_open(named);
        if (!*library)
            return clattn__fail(CLATTN_ERR_NO_OPENCL,
                                "no OpenCL: %s (CLATTN_OPENCL_LIBRARY) could not be opened; unset "
                                "it, or " INSTALL_HINT,
                                named);
        return CLATTN_OK;
    }
    for (size_t i = 0; i < sizeof library_names / sizeof library_names[0]; i++) {
        *library = clattn__library_open(library_names[i]);
        if (*library)
            return CLATTN_OK;
    }
    return clattn__fail(CLATTN_ERR_NO_OPENCL, "no OpenCL: %s could not be opened; " INSTALL_HINT,
                        library_names[0]);
}

/* Addresses of functions and of data have one size wherever dlsym() exists (POSIX). */
#define LOAD(name)                                                                                 \
    do {                                                                                           \
        void *address = get_proc(user, #name);                                                     \
        memcpy(&table.name, &address, sizeof address);                                             \
    } while (0);

#define REQUIRE(name)                                                                              \
    if (!table.name)                                                                               \
        return clattn__fail(CLATTN_ERR_NO_OPENCL, "no OpenCL: the library lacks " #name            \
                                                  ", a function of OpenCL 1.2; " INSTALL_HINT);

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
    if (!get_proc) {
        CLATTN__TRY(open_library(&user));
        get_proc = proc_of_library;
    }
    clattn__cl table;
    CLATTN__CL_REQUIRED(LOAD)
    CLATTN__CL_OPTIONAL(LOAD)
    CLATTN__TRY(require_all(table));
    CLATTN__TRY(check_process());
    *cl = table;
    return CLATTN_OK;
}
