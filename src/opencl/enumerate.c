/* Platforms and their devices, in the order in which OpenCL lists them. */
#include "opencl/enumerate.h"

#include <inttypes.h>
#include <string.h>

#define PLATFORM_NOT_FOUND_KHR (-1001) /* cl_khr_icd */

static clattn_status no_platform(void)
{
    return clattn__fail(CLATTN_ERR_NO_PLATFORM,
                        "no OpenCL platform: the loader found no driver; install your graphics "
                        "driver's OpenCL, or for the CPU on Debian and Ubuntu: apt install "
                        "pocl-opencl-icd");
}

static clattn_status list_platforms(const clattn__env *env, const clattn__cl *cl,
                                    cl_platform_id **platforms, cl_uint *count)
{
    cl_uint found = 0;
    const cl_int error = cl->clGetPlatformIDs(0, NULL, &found);
    if (error == PLATFORM_NOT_FOUND_KHR || (error == CL_SUCCESS && found == 0))
        return no_platform();
    if (error != CL_SUCCESS)
        return clattn__cl_fail(error, "clGetPlatformIDs");
    cl_platform_id *list = clattn__alloc_array(env, found, sizeof(cl_platform_id));
    if (!list)
        return CLATTN_ERR_OUT_OF_MEMORY;
    const cl_int listed = cl->clGetPlatformIDs(found, list, NULL);
    if (listed != CL_SUCCESS) {
        clattn__free(env, list);
        return clattn__cl_fail(listed, "clGetPlatformIDs");
    }
    *platforms = list;
    *count = found;
    return CLATTN_OK;
}

static clattn_status grow(const clattn__env *env, void **array, size_t count, size_t size)
{
    void *grown = clattn__resize(env, *array, count * size);
    if (!grown)
        return CLATTN_ERR_OUT_OF_MEMORY;
    *array = grown;
    return CLATTN_OK;
}

static clattn_status make_room(const clattn__env *env, clattn__found *found, uint32_t more)
{
    const size_t count = (size_t)found->count + more;
    CLATTN__TRY(grow(env, (void **)&found->platform, count, sizeof *found->platform));
    CLATTN__TRY(grow(env, (void **)&found->device, count, sizeof *found->device));
    CLATTN__TRY(grow(env, (void **)&found->info, count, sizeof *found->info));
    return grow(env, (void **)&found->caps, count, sizeof *found->caps);
}

/* What a device must answer with true to be of any use. */
static const struct {
    cl_device_info what;
    const char *lacking;
} needed[] = {
    {CL_DEVICE_AVAILABLE, "says that it is not available"},
    {CL_DEVICE_COMPILER_AVAILABLE, "has no compiler for OpenCL C"},
};

/* Why the device can't be used; NULL: it can. One that doesn't answer gets its chance. */
static const char *unusable(const clattn__cl *cl, cl_device_id device)
{
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        cl_bool answer = CL_TRUE;
        if (cl->clGetDeviceInfo(device, needed[i].what, sizeof answer, &answer, NULL) ==
                CL_SUCCESS &&
            !answer)
            return needed[i].lacking;
    }
    return NULL;
}

static void add_device(const clattn__env *env, const clattn__cl *cl, cl_platform_id platform,
                       cl_device_id device, clattn__found *found)
{
    const uint32_t at = found->count;
    const char *lacking = unusable(cl, device);
    clattn__inspect(cl, platform, device, &found->info[at], &found->caps[at]);
    if (lacking) {
        found->skipped++;
        found->lacking = lacking;
        clattn__log(env, CLATTN_LOG_DISPATCH, "%s/%s is left out: it %s", found->info[at].platform,
                    found->info[at].name, lacking);
        return;
    }
    found->platform[at] = platform;
    found->device[at] = device;
    found->count++;
}

/* A platform that fails to list its devices has none: others may work. */
static clattn_status add_platform(const clattn__env *env, const clattn__cl *cl,
                                  cl_platform_id platform, clattn__found *found)
{
    cl_uint count = 0;
    if (cl->clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, &count) != CL_SUCCESS || !count)
        return CLATTN_OK;
    CLATTN__TRY(make_room(env, found, count));
    cl_device_id *devices = found->device + found->count;
    if (cl->clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, count, devices, NULL) != CL_SUCCESS)
        return CLATTN_OK;
    for (cl_uint i = 0; i < count; i++)
        add_device(env, cl, platform, devices[i], found);
    return CLATTN_OK;
}

static clattn_status no_device(cl_uint platforms, const clattn__found *found)
{
    if (found->skipped)
        return clattn__fail(CLATTN_ERR_NO_DEVICE,
                            "no OpenCL device that can be used: of %" PRIu32 " found, the last %s; "
                            "see to its driver, or for the CPU on Debian and Ubuntu: apt install "
                            "pocl-opencl-icd",
                            found->skipped, found->lacking);
    return clattn__fail(CLATTN_ERR_NO_DEVICE,
                        "no OpenCL device: %u platforms, none with a device; for the CPU on "
                        "Debian and Ubuntu: apt install pocl-opencl-icd",
                        (unsigned)platforms);
}

clattn_status clattn__enumerate(const clattn__env *env, const clattn__cl *cl, clattn__found *found)
{
    cl_platform_id *platforms = NULL;
    cl_uint count = 0;
    memset(found, 0, sizeof *found);
    CLATTN__TRY(list_platforms(env, cl, &platforms, &count));
    clattn_status status = CLATTN_OK;
    for (cl_uint i = 0; i < count && status == CLATTN_OK; i++)
        status = add_platform(env, cl, platforms[i], found);
    clattn__free(env, platforms);
    if (status == CLATTN_OK && found->count == 0)
        status = no_device(count, found);
    if (status != CLATTN_OK)
        clattn__found_finish(env, found);
    return status;
}

void clattn__found_finish(const clattn__env *env, clattn__found *found)
{
    clattn__free(env, found->platform);
    clattn__free(env, found->device);
    clattn__free(env, found->info);
    clattn__free(env, found->caps);
    memset(found, 0, sizeof *found);
}
