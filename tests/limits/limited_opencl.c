/* libOpenCL.so.1 with devices that are smaller than they are, or of another kind. Loaded by
 * CLATTN_OPENCL_LIBRARY, see ci/matrix.py and tests/device/meson.build. Every function that isn't
 * here is found in the library that it is linked with.
 *
 * CLATTN_LIMIT_LOCAL_MEMORY  bytes; a launch that needs more fails
 * CLATTN_LIMIT_WORK_GROUP    work-items; a launch with more fails
 * CLATTN_LIMIT_ALLOCATION    bytes of the largest buffer
 * CLATTN_LIMIT_HIDDEN        extensions that the device hasn't, colons between; cl_khr_fp64 and
 *                            cl_khr_subgroups hide what stands for them elsewhere, too
 * CLATTN_CLAIM_TYPE          cpu or gpu
 * CLATTN_CLAIM_VECTOR        native vector width, floats */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CL/cl.h>

#define MAX_NUM_SUB_GROUPS 0x105C /* of OpenCL 2.1 */

#if defined(__GNUC__)
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT
#endif

typedef void(any_function)(void);

static any_function *real(const char *name)
{
    static void *library;
    any_function *found = NULL;
    if (!library)
        library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    void *address = library ? dlsym(library, name) : NULL;
    if (!address) {
        fprintf(stderr, "limited_opencl: there is no %s: %s\n", name, dlerror());
        exit(1);
    }
    memcpy(&found, &address, sizeof found);
    return found;
}

/* The number in the environment; 0: no limit. */
static unsigned long long limit(const char *name)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : 0;
}

static int is_hidden(const char *extension)
{
    const char *list = getenv("CLATTN_LIMIT_HIDDEN");
    const char *at = list ? strstr(list, extension) : NULL;
    const size_t size = strlen(extension);
    return at && (at[size] == 0 || at[size] == ':') && (at == list || at[-1] == ':');
}

/* Overwrites the names of hidden extensions with blanks. */
static void hide_extensions(char *list)
{
    char word[256];
    for (char *at = list; *at;) {
        at += strspn(at, " ");
        const size_t size = strcspn(at, " ");
        if (size > 0 && size < sizeof word) {
            memcpy(word, at, size);
            word[size] = 0;
            if (is_hidden(word))
                memset(at, ' ', size);
        }
        at += size;
    }
}

static const struct {
    cl_device_info info;
    const char *variable;
    int wide; /* cl_ulong, otherwise size_t */
} numbers[] = {
    {CL_DEVICE_LOCAL_MEM_SIZE, "CLATTN_LIMIT_LOCAL_MEMORY", 1},
    {CL_DEVICE_MAX_MEM_ALLOC_SIZE, "CLATTN_LIMIT_ALLOCATION", 1},
    {CL_DEVICE_MAX_WORK_GROUP_SIZE, "CLATTN_LIMIT_WORK_GROUP", 0},
};

static void lower(cl_device_info info, void *value)
{
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const unsigned long long most = limit(numbers[i].variable);
        if (numbers[i].info != info || most == 0)
            continue;
        if (numbers[i].wide && *(cl_ulong *)value > most)
            *(cl_ulong *)value = most;
        if (!numbers[i].wide && *(size_t *)value > most)
            *(size_t *)value = (size_t)most;
    }
}

static void claim(cl_device_info info, void *value)
{
    const char *type = getenv("CLATTN_CLAIM_TYPE");
    const unsigned long long width = limit("CLATTN_CLAIM_VECTOR");
    if (info == CL_DEVICE_TYPE && type)
        *(cl_device_type *)value =
            strcmp(type, "gpu") == 0 ? CL_DEVICE_TYPE_GPU : CL_DEVICE_TYPE_CPU;
    if (info == CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT && width)
        *(cl_uint *)value = (cl_uint)width;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
EXPORT cl_int CL_API_CALL clGetDeviceInfo(cl_device_id device, cl_device_info info, size_t size,
                                          void *value, size_t *written)
{
    cl_int(CL_API_CALL * ask)(cl_device_id, cl_device_info, size_t, void *, size_t *);
    any_function *found = real("clGetDeviceInfo");
    memcpy(&ask, &found, sizeof ask);
    const cl_int status = ask(device, info, size, value, written);
    if (status != CL_SUCCESS || !value)
        return status;
    lower(info, value);
    claim(info, value);
    if (info == CL_DEVICE_EXTENSIONS)
        hide_extensions(value);
    if (info == CL_DEVICE_DOUBLE_FP_CONFIG && is_hidden("cl_khr_fp64"))
        *(cl_device_fp_config *)value = 0;
    if (info == MAX_NUM_SUB_GROUPS && is_hidden("cl_khr_subgroups"))
        *(cl_uint *)value = 0;
    return status;
}

/* What the kernel takes of local memory on the device of the queue. */
static cl_ulong local_memory_of(cl_command_queue queue, cl_kernel kernel)
{
    cl_int(CL_API_CALL * ask_queue)(cl_command_queue, cl_command_queue_info, size_t, void *,
                                    size_t *);
    cl_int(CL_API_CALL * ask_kernel)(cl_kernel, cl_device_id, cl_kernel_work_group_info, size_t,
                                     void *, size_t *);
    any_function *found = real("clGetCommandQueueInfo");
    cl_device_id device;
    cl_ulong used = 0;
    memcpy(&ask_queue, &found, sizeof ask_queue);
    found = real("clGetKernelWorkGroupInfo");
    memcpy(&ask_kernel, &found, sizeof ask_kernel);
    if (ask_queue(queue, CL_QUEUE_DEVICE, sizeof device, &device, NULL) == CL_SUCCESS)
        ask_kernel(kernel, device, CL_KERNEL_LOCAL_MEM_SIZE, sizeof used, &used, NULL);
    return used;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
EXPORT cl_int CL_API_CALL clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel,
                                                 cl_uint dimensions, const size_t *offset,
                                                 const size_t *global, const size_t *local,
                                                 cl_uint count, const cl_event *wait,
                                                 cl_event *event)
{
    cl_int(CL_API_CALL * enqueue)(cl_command_queue, cl_kernel, cl_uint, const size_t *,
                                  const size_t *, const size_t *, cl_uint, const cl_event *,
                                  cl_event *);
    any_function *found = real("clEnqueueNDRangeKernel");
    memcpy(&enqueue, &found, sizeof enqueue);
    size_t group = 1;
    for (cl_uint i = 0; local && i < dimensions; i++)
        group *= local[i];
    const unsigned long long most = limit("CLATTN_LIMIT_WORK_GROUP");
    const unsigned long long local_memory = limit("CLATTN_LIMIT_LOCAL_MEMORY");
    if (most && group > most)
        return CL_INVALID_WORK_GROUP_SIZE;
    if (local_memory && local_memory_of(queue, kernel) > local_memory)
        return CL_OUT_OF_RESOURCES;
    return enqueue(queue, kernel, dimensions, offset, global, local, count, wait, event);
}

/* Behind a claim a device has no quirks of those of its type (src/opencl/quirk.c). One of them is
 * no difference of kernels: Intel's runtime for CPUs returns from blocking writes before kernels of
 * other queues see the bytes.
 * NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
EXPORT cl_int CL_API_CALL clEnqueueWriteBuffer(cl_command_queue queue, cl_mem memory,
                                               cl_bool blocking, size_t offset, size_t size,
                                               const void *data, cl_uint count,
                                               const cl_event *wait, cl_event *event)
{
    cl_int(CL_API_CALL * write)(cl_command_queue, cl_mem, cl_bool, size_t, size_t, const void *,
                                cl_uint, const cl_event *, cl_event *);
    cl_int(CL_API_CALL * finish)(cl_command_queue);
    any_function *found = real("clEnqueueWriteBuffer");
    memcpy(&write, &found, sizeof write);
    found = real("clFinish");
    memcpy(&finish, &found, sizeof finish);
    const cl_int status = write(queue, memory, blocking, offset, size, data, count, wait, event);
    return status == CL_SUCCESS && blocking && getenv("CLATTN_CLAIM_TYPE") ? finish(queue) : status;
}
