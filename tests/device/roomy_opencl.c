/* The wrappers of roomy_opencl.h. */
#include "roomy_opencl.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CL/cl.h>

#include "real_cl.h"

#define CLAIMED ((cl_ulong)1 << 40)
#define MADE    ((size_t)1 << 20) /* bytes of a buffer that claims to be larger */

static cl_int CL_API_CALL get_device_info(cl_device_id device, cl_device_info info, size_t size,
                                          void *value, size_t *written)
{
    cl_int(CL_API_CALL * real)(cl_device_id, cl_device_info, size_t, void *, size_t *);
    any_function *found = real_cl_load("clGetDeviceInfo");
    memcpy(&real, &found, sizeof real);
    const cl_int status = real(device, info, size, value, written);
    if (status == CL_SUCCESS && value && info == CL_DEVICE_MAX_MEM_ALLOC_SIZE)
        *(cl_ulong *)value = CLAIMED;
    return status;
}

static cl_mem CL_API_CALL create_buffer(cl_context context, cl_mem_flags flags, size_t size,
                                        void *host, cl_int *error)
{
    cl_mem(CL_API_CALL * real)(cl_context, cl_mem_flags, size_t, void *, cl_int *);
    any_function *found = real_cl_load("clCreateBuffer");
    memcpy(&real, &found, sizeof real);
    if (flags & CL_MEM_USE_HOST_PTR && size > MADE)
        size = MADE;
    return real(context, flags, size, host, error);
}

/* Of a buffer made by create_buffer, not more than there is. */
static void *CL_API_CALL map_buffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking,
                                    cl_map_flags flags, size_t offset, size_t size, cl_uint count,
                                    const cl_event *wait, cl_event *event, cl_int *error)
{
    void *(CL_API_CALL * real)(cl_command_queue, cl_mem, cl_bool, cl_map_flags, size_t, size_t,
                               cl_uint, const cl_event *, cl_event *, cl_int *);
    any_function *found = real_cl_load("clEnqueueMapBuffer");
    memcpy(&real, &found, sizeof real);
    if (offset == 0 && size > MADE)
        size = MADE;
    return real(queue, buffer, blocking, flags, offset, size, count, wait, event, error);
}

void *roomy_get_proc(void *user, const char *name)
{
    static const struct {
        const char *name;
        any_function *function;
    } own[] = {
        {"clGetDeviceInfo", (any_function *)get_device_info},
        {"clCreateBuffer", (any_function *)create_buffer},
        {"clEnqueueMapBuffer", (any_function *)map_buffer},
    };
    any_function *found = real_cl_load(name);
    void *address;
    (void)user;
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (strcmp(name, own[i].name) == 0)
            found = own[i].function;
    memcpy(&address, &found, sizeof address);
    return address;
}

static clattn_context *open_context(uint32_t device, const char *kernel,
                                    clattn_get_proc_fn get_proc, clattn_device_info *info)
{
    char selector[16];
    clattn_context *context;
    clattn_context_options options;
    clattn_context_options_init(&options);
    snprintf(selector, sizeof selector, "%u", (unsigned)device);
    options.device = selector;
    options.kernel = kernel;
    options.get_proc = get_proc;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    memset(info, 0, sizeof *info);
    info->struct_size = sizeof *info;
    cr_assert_eq(clattn_context_device_info(context, info), CLATTN_OK);
    return context;
}

clattn_context *roomy_open(uint32_t device, const char *kernel, uint64_t size, const char **reason)
{
    clattn_device_info info;
    clattn_context *context = open_context(device, kernel, NULL, &info);
    if (info.unified_memory && info.max_allocation >= size)
        return context;
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
    if (!info.unified_memory)
        *reason = "the device has memory of its own, of which nobody knows how much is free";
    else if (info.type != CLATTN_DEVICE_CPU || !strstr(info.platform, "Portable Computing"))
        *reason = "the device takes no buffers as large as that";
    else
        return open_context(device, kernel, roomy_get_proc, &info);
    return NULL;
}
