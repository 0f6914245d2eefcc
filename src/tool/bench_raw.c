/* See bench_raw.h: the system's OpenCL, with the functions that enqueue wrapped. */
#include "tool/bench_raw.h"

#include <clattn/opencl.h>
#include <dlfcn.h>
#include <stdlib.h>

#include "tool/bench_rig.h"

static void *library;
static double spent, timing;        /* in calls of OpenCL, and on timing them */
static double cost_within, cost_of; /* of timing a call: what counts as the call's, and all of it */

/* A launch in one dimension, as all of clattn's are. */
typedef struct launch {
    cl_command_queue queue;
    cl_kernel kernel;
    size_t global, local;
} launch;

static launch last;
static unsigned launches;
static cl_int(CL_API_CALL *real_set)(cl_kernel, cl_uint, size_t, const void *);
static cl_int(CL_API_CALL *real_flush)(cl_command_queue);
static cl_int(CL_API_CALL *real_enqueue)(cl_command_queue, cl_kernel, cl_uint, const size_t *,
                                         const size_t *, const size_t *, cl_uint, const cl_event *,
                                         cl_event *);

static void spend(double start)
{
    spent += bench_now() - start - cost_within;
    timing += cost_of;
}

static cl_int CL_API_CALL timed_set(cl_kernel kernel, cl_uint index, size_t size, const void *value)
{
    const double start = bench_now();
    const cl_int status = real_set(kernel, index, size, value);
    spend(start);
    return status;
}

static cl_int CL_API_CALL timed_flush(cl_command_queue queue)
{
    const double start = bench_now();
    const cl_int status = real_flush(queue);
    spend(start);
    return status;
}

/* NOLINTNEXTLINE(readability-function-size): OpenCL's parameters */
static cl_int CL_API_CALL timed_enqueue(cl_command_queue queue, cl_kernel kernel,
                                        cl_uint dimensions, const size_t *offset,
                                        const size_t *global, const size_t *local, cl_uint count,
                                        const cl_event *wait, cl_event *event)
{
    last = (launch){.queue = queue, .kernel = kernel, .global = *global, .local = *local};
    launches++;
    const double start = bench_now();
    const cl_int status =
        real_enqueue(queue, kernel, dimensions, offset, global, local, count, wait, event);
    spend(start);
    return status;
}

/* ISO C has no conversion between pointers to functions and to objects; POSIX gives both the same
 * form. */
static void *replace(void *found, void *real, const void *timed)
{
    void *result;
    memcpy(real, &found, sizeof found);
    memcpy(&result, timed, sizeof result);
    return found ? result : NULL;
}

static void *get_proc(void *user, const char *name)
{
    cl_int(CL_API_CALL * set)(cl_kernel, cl_uint, size_t, const void *) = timed_set;
    cl_int(CL_API_CALL * flush)(cl_command_queue) = timed_flush;
    cl_int(CL_API_CALL * enqueue)(cl_command_queue, cl_kernel, cl_uint, const size_t *,
                                  const size_t *, const size_t *, cl_uint, const cl_event *,
                                  cl_event *) = timed_enqueue;
    void *found = dlsym(user, name);
    if (strcmp(name, "clSetKernelArg") == 0)
        return replace(found, &real_set, &set);
    if (strcmp(name, "clFlush") == 0)
        return replace(found, &real_flush, &flush);
    if (strcmp(name, "clEnqueueNDRangeKernel") == 0)
        return replace(found, &real_enqueue, &enqueue);
    return found;
}

/* The least that was seen, so that no more is taken off than timing costs. */
static void measure_timing(void)
{
    enum { CALLS = 100, ROUNDS = 100 };
    double within = 1, of = 1;
    for (int round = 0; round < ROUNDS; round++) {
        const double start = bench_now();
        for (int i = 0; i < CALLS; i++) {
            const double before = bench_now(), passed = bench_now() - before;
            within = passed < within ? passed : within;
        }
        const double each = (bench_now() - start) / CALLS;
        of = each < of ? each : of;
    }
    cost_within = within;
    cost_of = of;
}

void bench_raw_set(clattn_context_options *options)
{
    const char *name = getenv("CLATTN_OPENCL_LIBRARY");
    if (!library)
        library = dlopen(name && *name ? name : "libOpenCL.so.1", RTLD_NOW);
    if (!library)
        return;
    measure_timing();
    options->get_proc = get_proc;
    options->get_proc_user = library;
}

double bench_raw_take(double *own)
{
    const double taken = spent;
    *own = timing;
    spent = timing = 0;
    return taken;
}

unsigned bench_raw_launches(void)
{
    const unsigned made = launches;
    launches = 0;
    return made;
}

double bench_raw_again(void)
{
    cl_int(CL_API_CALL * wait)(cl_uint, const cl_event *);
    cl_int(CL_API_CALL * release)(cl_event);
    void *found[2] = {library ? dlsym(library, "clWaitForEvents") : NULL,
                      library ? dlsym(library, "clReleaseEvent") : NULL};
    cl_event event;
    if (!last.kernel || !found[0] || !found[1])
        return -1;
    memcpy(&wait, &found[0], sizeof wait);
    memcpy(&release, &found[1], sizeof release);
    const double start = bench_now();
    if (real_enqueue(last.queue, last.kernel, 1, NULL, &last.global, &last.local, 0, NULL,
                     &event) != CL_SUCCESS)
        return -1;
    const cl_int flushed = real_flush(last.queue), waited = wait(1, &event);
    const double seconds = bench_now() - start;
    release(event);
    return flushed == CL_SUCCESS && waited == CL_SUCCESS ? seconds : -1;
}
