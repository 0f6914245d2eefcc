/* The wrapper of claimed_opencl.h. */
#include "claimed_opencl.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <CL/cl.h>

#include "real_cl.h"

/* Of the context that is being made: caps are asked for then. */
static claimed_device claimed;
static claimed_builds builds; /* by one thread */

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
    any_function *found = real_cl_load("clGetDeviceInfo");
    memcpy(&real, &found, sizeof real);
    const cl_int status = real(device, info, size, value, written);
    if (status == CL_SUCCESS && value)
        claim(info, value);
    return status;
}

static cl_int CL_API_CALL get_platform_info(cl_platform_id platform, cl_platform_info info,
                                            size_t size, void *value, size_t *written)
{
    cl_int(CL_API_CALL * real)(cl_platform_id, cl_platform_info, size_t, void *, size_t *);
    any_function *found = real_cl_load("clGetPlatformInfo");
    memcpy(&real, &found, sizeof real);
    if (info != CL_PLATFORM_NAME || !claimed.platform)
        return real(platform, info, size, value, written);
    const size_t needed = strlen(claimed.platform) + 1;
    if (written)
        *written = needed;
    if (value && size < needed)
        return CL_INVALID_VALUE;
    if (value)
        memcpy(value, claimed.platform, needed);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL build_program(cl_program program, cl_uint count, const cl_device_id *of,
                                        const char *options,
                                        void(CL_CALLBACK *notify)(cl_program, void *), void *user)
{
    static const char wish[] = "-cl-intel-256-GRF-per-thread ";
    cl_int(CL_API_CALL * real)(cl_program, cl_uint, const cl_device_id *, const char *,
                               void(CL_CALLBACK *)(cl_program, void *), void *);
    any_function *found = real_cl_load("clBuildProgram");
    memcpy(&real, &found, sizeof real);
    const bool wished = strncmp(options, wish, strlen(wish)) == 0;
    *(wished ? &builds.wished : &builds.plain) += 1;
    if (wished && claimed.refuses_wishes)
        return CL_INVALID_BUILD_OPTIONS;
    return real(program, count, of, wished ? options + strlen(wish) : options, notify, user);
}

claimed_builds claimed_count_builds(void)
{
    return builds;
}

static void *get_proc(void *user, const char *name)
{
    any_function *found = real_cl_load(name);
    void *address;
    (void)user;
    if (strcmp(name, "clGetDeviceInfo") == 0)
        found = (any_function *)get_device_info;
    if (strcmp(name, "clGetPlatformInfo") == 0)
        found = (any_function *)get_platform_info;
    if (strcmp(name, "clBuildProgram") == 0)
        found = (any_function *)build_program;
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
