/* OpenCL objects of the program's own, and clattn on them. */
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stop.h"

enum { GROUP = 64, MOST_PLATFORMS = 16, MOST_DEVICES = 64 };

static void check_cl(cl_int error, const char *what)
{
    if (error != CL_SUCCESS)
        stop(what, "OpenCL error %d", (int)error);
}

/* ---- choosing a device ----------------------------------------------------------------------- */

static clattn_context_options options_of(const device *d)
{
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.get_proc = opencl_function;
    options.get_proc_user = d->cl.library;
    return options;
}

/* What clattn takes if nobody says anything else. */
static clattn_device_info preferred(const device *d)
{
    const clattn_context_options options = options_of(d);
    clattn_device_info info = {.struct_size = sizeof info};
    clattn_context *context;
    check(clattn_context_create(&options, &context));
    check(clattn_context_device_info(context, &info));
    check(clattn_context_destroy(context));
    return info;
}

/* clattn's names are cut where they are too long. */
static int same_name(const char *whole, const char *cut)
{
    return strncmp(whole, cut, sizeof((clattn_device_info *)NULL)->name - 1) == 0;
}

/* The preferred device of this platform, NULL: it isn't there. */
static cl_device_id find_on(const device *d, cl_platform_id platform,
                            const clattn_device_info *info)
{
    cl_device_id ids[MOST_DEVICES];
    char name[1024];
    cl_uint count = 0;
    check_cl(d->cl.clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name, name, NULL),
             "clGetPlatformInfo");
    if (!same_name(name, info->platform))
        return NULL;
    check_cl(d->cl.clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, MOST_DEVICES, ids, &count),
             "clGetDeviceIDs");
    for (cl_uint i = 0; i < count && i < MOST_DEVICES; i++) {
        check_cl(d->cl.clGetDeviceInfo(ids[i], CL_DEVICE_NAME, sizeof name, name, NULL),
                 "clGetDeviceInfo");
        if (same_name(name, info->name))
            return ids[i];
    }
    return NULL;
}

static cl_platform_id choose(device *d)
{
    const clattn_device_info info = preferred(d);
    cl_platform_id platforms[MOST_PLATFORMS];
    cl_uint count = 0;
    check_cl(d->cl.clGetPlatformIDs(MOST_PLATFORMS, platforms, &count), "clGetPlatformIDs");
    for (cl_uint i = 0; i < count && i < MOST_PLATFORMS; i++) {
        d->id = find_on(d, platforms[i], &info);
        if (d->id)
            return platforms[i];
    }
    stop("OpenCL", "%s is not there any more", info.name);
}

/* ---- programs -------------------------------------------------------------------------------- */

/* The whole file; the caller frees it. */
static char *read_text(const char *path)
{
    char *text = NULL;
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        stop(path, "can't be read");
    const long size = ftell(file);
    rewind(file);
    if (size >= 0)
        text = calloc((size_t)size + 1, 1);
    if (!text || fread(text, 1, (size_t)size, file) != (size_t)size)
        stop(path, "can't be read");
    fclose(file);
    return text;
}

static void build(device *d)
{
    static const char *const names[KERNELS] = {
#define DEVICE_KERNEL(constant, name) [KERNEL_##constant] = #name,
        DEVICE_KERNELS(DEVICE_KERNEL)
#undef DEVICE_KERNEL
    };
    cl_int error;
    char *text = read_text(TRAINING_CL), log[2048] = "";
    d->program = d->cl.clCreateProgramWithSource(d->context, 1, (const char **)&text, NULL, &error);
    check_cl(error, "clCreateProgramWithSource");
    free(text);
    if (d->cl.clBuildProgram(d->program, 1, &d->id, "", NULL, NULL) != CL_SUCCESS) {
        d->cl.clGetProgramBuildInfo(d->program, d->id, CL_PROGRAM_BUILD_LOG, sizeof log - 1, log,
                                    NULL);
        stop(TRAINING_CL, "doesn't build: %s", log);
    }
    for (int i = 0; i < KERNELS; i++) {
        d->kernel[i] = d->cl.clCreateKernel(d->program, names[i], &error);
        check_cl(error, names[i]);
    }
}

/* ---- opening and closing --------------------------------------------------------------------- */

void device_open(device *d)
{
    cl_int error;
    opencl_open(&d->cl);
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                                (cl_context_properties)choose(d), 0};
    const clattn_context_options options = options_of(d);
    d->context = d->cl.clCreateContext(properties, 1, &d->id, NULL, NULL, &error);
    check_cl(error, "clCreateContext");
    d->queue = d->cl.clCreateCommandQueue(d->context, d->id, 0, &error);
    check_cl(error, "clCreateCommandQueue");
    check(clattn_context_create_from_cl(d->context, d->id, &options, &d->clattn));
    check(clattn_dispatcher_create_from_cl(d->clattn, d->queue, &d->dispatcher));
    build(d);
}

void device_close(device *d)
{
    device_finish(d);
    clattn_dispatcher_destroy(d->dispatcher);
    check(clattn_context_destroy(d->clattn));
    for (int i = 0; i < KERNELS; i++)
        check_cl(d->cl.clReleaseKernel(d->kernel[i]), "clReleaseKernel");
    check_cl(d->cl.clReleaseProgram(d->program), "clReleaseProgram");
    check_cl(d->cl.clReleaseCommandQueue(d->queue), "clReleaseCommandQueue");
    check_cl(d->cl.clReleaseContext(d->context), "clReleaseContext");
}

/* ---- tensors --------------------------------------------------------------------------------- */

tensor tensor_create(device *d, const size_t *extents)
{
    cl_int error;
    tensor made = {.count = 1};
    while (*extents)
        made.count *= *extents++;
    void *zeros = calloc(made.count, 4);
    if (!zeros)
        stop("memory", "no %zu elements are left", made.count);
    made.memory = d->cl.clCreateBuffer(d->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                                       4 * made.count, zeros, &error);
    check_cl(error, "clCreateBuffer");
    free(zeros);
    check(clattn_buffer_wrap_cl(d->clattn, made.memory, &made.buffer));
    return made;
}

void tensor_destroy(device *d, tensor *t)
{
    check(clattn_buffer_destroy(t->buffer));
    check_cl(d->cl.clReleaseMemObject(t->memory), "clReleaseMemObject");
}

void tensor_write(device *d, const tensor *t, size_t first, const void *values, size_t count)
{
    check_cl(d->cl.clEnqueueWriteBuffer(d->queue, t->memory, CL_TRUE, 4 * first, 4 * count, values,
                                        0, NULL, NULL),
             "clEnqueueWriteBuffer");
}

void tensor_read(device *d, const tensor *t, size_t first, void *values, size_t count)
{
    check_cl(d->cl.clEnqueueReadBuffer(d->queue, t->memory, CL_TRUE, 4 * first, 4 * count, values,
                                       0, NULL, NULL),
             "clEnqueueReadBuffer");
}

/* ---- running --------------------------------------------------------------------------------- */

void device_launch(device *d, device_kernel kernel, size_t count, const kernel_argument *arguments)
{
    const cl_kernel k = d->kernel[kernel];
    const cl_uint items = (cl_uint)count;
    const size_t local = GROUP, global = (count + GROUP - 1) / GROUP * GROUP;
    check_cl(d->cl.clSetKernelArg(k, 0, sizeof items, &items), "clSetKernelArg");
    for (cl_uint i = 0; arguments[i].size; i++)
        check_cl(d->cl.clSetKernelArg(k, i + 1, arguments[i].size, arguments[i].value),
                 "clSetKernelArg");
    check_cl(d->cl.clEnqueueNDRangeKernel(d->queue, k, 1, NULL, &global, &local, 0, NULL, NULL),
             "clEnqueueNDRangeKernel");
}

void device_submit(device *d, const clattn_step *steps, uint32_t count)
{
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = steps;
    submission.step_count = count;
    check(clattn_submit(d->dispatcher, &submission, NULL));
}

void device_finish(device *d)
{
    check(clattn_dispatcher_finish(d->dispatcher));
}
