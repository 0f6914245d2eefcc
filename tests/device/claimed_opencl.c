/* The wrapper of claimed_opencl.h. */
#include "claimed_opencl.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include <CL/cl.h>

typedef void(any_function)(void);

/* Of the context that is being made: caps are asked for then. */
static claimed_device claimed;

static any_function *load(const char *name)
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

static void claim(cl_device_info info, void *value)
{
    if (info == CL_DEVICE_TYPE && claimed.is_gpu)
        *(cl_device_type *)value = CL_DEVICE_TYPE_GPU;
    if (info == CL_DEVICE_LOCAL_MEM_SIZE && claimed.local_memory &&
        claimed.local_memory < *(cl_ulong *)value)
        *(cl_ulong *)value = claimed.local_memory;
    if (info == CL_DEVICE_MAX_WORK_GROUP_SIZE && claimed.work_group &&
        claimed.work_group < *(size_t *)value)
        *(size_t *)value = (size_t)claimed.work_group;
    if (info == CL_DEVICE_MAX_COMPUTE_UNITS && claimed.compute_units)
        *(cl_uint *)value = claimed.compute_units;
}

static cl_int CL_API_CALL get_device_info(cl_device_id device, cl_device_info info, size_t size,
                                          void *value, size_t *written)
{
    cl_int(CL_API_CALL * real)(cl_device_id, cl_device_info, size_t, void *, size_t *);
    any_function *found = load("clGetDeviceInfo");
    memcpy(&real, &found, sizeof real);
    const cl_int status = real(device, info, size, value, written);
    if (status == CL_SUCCESS && value)
        claim(info, value);
    return status;
}

static void *get_proc(void *user, const char *name)
{
    any_function *found = load(name);
    void *address;
    (void)user;
    if (strcmp(name, "clGetDeviceInfo") == 0)
        found = (any_function *)get_device_info;
    memcpy(&address, &found, sizeof address);
    return address;
}

clattn_context *claimed_open(const claimed_device *claims, const char *kernel)
{
    clattn_context *context;
    clattn_context_options options;
    clattn_context_options_init(&options);
    claimed = *claims;
    options.device = "0";
    options.kernel = kernel;
    options.get_proc = get_proc;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    return context;
}
