/* See failing_cl.h. A lost lane is a good one of the real library's; what is asked of it is done,
 * and answered with a failure. */
#include "failing_cl.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <CL/cl.h>

#ifdef CLATTN_PLAIN_TESTS
#include "plain_tests.h"
#else
#include <criterion/criterion.h>
#endif

enum { LANES = 256 };

#define CALLS(X)                                                                                   \
    X(clEnqueueNDRangeKernel, cl_int,                                                              \
      (cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t *offset,         \
       const size_t *global, const size_t *local, cl_uint count, const cl_event *wait,             \
       cl_event *event))                                                                           \
    X(clEnqueueReadBuffer, cl_int,                                                                 \
      (cl_command_queue queue, cl_mem memory, cl_bool blocking, size_t offset, size_t size,        \
       void *data, cl_uint count, const cl_event *wait, cl_event *event))                          \
    X(clEnqueueWriteBuffer, cl_int,                                                                \
      (cl_command_queue queue, cl_mem memory, cl_bool blocking, size_t offset, size_t size,        \
       const void *data, cl_uint count, const cl_event *wait, cl_event *event))                    \
    X(clEnqueueMarkerWithWaitList, cl_int,                                                         \
      (cl_command_queue queue, cl_uint count, const cl_event *wait, cl_event *event))              \
    X(clCreateCommandQueue, cl_command_queue,                                                      \
      (cl_context context, cl_device_id device, cl_command_queue_properties properties,            \
       cl_int * error))                                                                            \
    X(clGetDeviceInfo, cl_int,                                                                     \
      (cl_device_id device, cl_device_info name, size_t size, void *value, size_t *needed))        \
    X(clCreateSubDevices, cl_int,                                                                  \
      (cl_device_id device, const cl_device_partition_property *by, cl_uint capacity,              \
       cl_device_id *parts, cl_uint *count))                                                       \
    X(clCreateContext, cl_context,                                                                 \
      (const cl_context_properties *properties, cl_uint count, const cl_device_id *devices,        \
       void(CL_CALLBACK * notify)(const char *, const void *, size_t, void *), void *user,         \
       cl_int *error))                                                                             \
    X(clCreateProgramWithSource, cl_program,                                                       \
      (cl_context context, cl_uint count, const char **texts, const size_t *sizes, cl_int *error)) \
    X(clGetEventInfo, cl_int,                                                                      \
      (cl_event event, cl_event_info name, size_t size, void *value, size_t *needed))              \
    X(clGetEventProfilingInfo, cl_int,                                                             \
      (cl_event event, cl_profiling_info name, size_t size, void *value, size_t *needed))          \
    X(clWaitForEvents, cl_int, (cl_uint count, const cl_event *events))                            \
    X(clRetainDevice, cl_int, (cl_device_id device))                                               \
    X(clRetainEvent, cl_int, (cl_event event))                                                     \
    X(clReleaseEvent, cl_int, (cl_event event))                                                    \
    X(clFlush, cl_int, (cl_command_queue queue))                                                   \
    X(clFinish, cl_int, (cl_command_queue queue))

#define REAL(name, type, parameters) static type(CL_API_CALL *real_##name) parameters;
CALLS(REAL)

typedef struct lane {
    _Atomic(cl_command_queue) queue;
    atomic_int way;         /* failing_cl_way; -1: it is well */
    _Atomic(cl_ulong) at;   /* of the device's clock: what was enqueued before ends badly */
    _Atomic(cl_event) gate; /* of failing_cl_hold: what is enqueued waits for it; NULL: nothing */
} lane;

/* Commands of which the `at`-th ones from now on aren't done and end badly. */
typedef struct spoiler {
    atomic_ullong at;
    atomic_uint asked;
} spoiler;

static lane lanes[LANES];
static atomic_uint lane_count;
static atomic_ullong refused;
static atomic_uint asked;

static spoiler spoiled_launches, spoiled_writes;
static _Atomic(cl_event) spoiled[LANES]; /* references to the last ones */
static atomic_uint spoiled_count;
static void *whole_library; /* for what clattn doesn't use */

static atomic_uint separate, looks, programs, status_asked, flushes, claimed_units, abandoned;
static atomic_uint times_longer;            /* of a claimed GPU; 0: it is none */
static uint32_t part_units[32], part_count; /* used by one thread */
static atomic_int contexts_until = -1;      /* how many more until the one that takes no program */
static _Atomic(cl_context) bare;

static lane *any_lane_of(cl_command_queue queue)
{
    for (uint32_t i = 0; i < atomic_load(&lane_count) && i < LANES; i++)
        if (queue && atomic_load(&lanes[i].queue) == queue)
            return &lanes[i];
    return NULL;
}

/* Of those that aren't well. */
static const lane *lane_of(cl_command_queue queue)
{
    const lane *of = any_lane_of(queue);
    return of && atomic_load(&of->way) >= 0 ? of : NULL;
}

/* `wait` (count), and what holds the queue's lane, into `all` (count + 1); returns the number. */
static cl_uint gather(cl_command_queue queue, cl_uint count, const cl_event *wait, cl_event *all)
{
    lane *of = any_lane_of(queue);
    const cl_event gate = of ? atomic_load(&of->gate) : NULL;
    for (cl_uint i = 0; i < count; i++)
        all[i] = wait[i];
    if (gate)
        all[count++] = gate;
    return count;
}

static bool is_spoiled(cl_event event)
{
    for (uint32_t i = 0; i < LANES; i++)
        if (atomic_load(&spoiled[i]) == event)
            return true;
    return false;
}

/* Whether it is the turn of a command to be spoiled; then a marker stands for it. */
static bool spoil(spoiler *by, cl_command_queue queue, cl_uint count, const cl_event *wait,
                  cl_event *event, cl_int *status)
{
    const uint32_t at = atomic_fetch_add(&by->asked, 1);
    if (at >= 64 || !(atomic_load(&by->at) >> at & 1))
        return false;
    cr_assert_not_null(event);
    *status = real_clEnqueueMarkerWithWaitList(queue, count, count ? wait : NULL, event);
    if (*status != CL_SUCCESS)
        return true;
    cr_assert_eq(real_clRetainEvent(*event), CL_SUCCESS);
    const uint32_t place = atomic_fetch_add(&spoiled_count, 1) % LANES;
    const cl_event old = atomic_exchange(&spoiled[place], *event);
    if (old)
        real_clReleaseEvent(old);
    return true;
}

static bool refuses(cl_command_queue queue)
{
    const lane *of = lane_of(queue);
    return of && atomic_load(&of->way) == FAILING_CL_REFUSES;
}

static bool is_lost(cl_command_queue queue)
{
    const lane *of = lane_of(queue);
    return of && atomic_load(&of->way) != FAILING_CL_ONCE;
}

/* When it was enqueued, by the device's clock; 0 where that isn't known. */
static cl_ulong queued_at(cl_event event)
{
    cl_ulong time = 0;
    if (real_clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_QUEUED, sizeof time, &time,
                                     NULL) != CL_SUCCESS)
        return 0;
    return time;
}

static bool ends_badly(cl_event event)
{
    cl_command_queue queue = NULL;
    if (real_clGetEventInfo(event, CL_EVENT_COMMAND_QUEUE, sizeof queue, &queue, NULL) !=
        CL_SUCCESS)
        return false;
    const lane *of = lane_of(queue);
    return of &&
           (atomic_load(&of->way) != FAILING_CL_ONCE || queued_at(event) <= atomic_load(&of->at));
}

static cl_int CL_API_CALL own_clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel,
                                                     cl_uint dimensions, const size_t *offset,
                                                     const size_t *global, const size_t *local,
                                                     cl_uint count, const cl_event *wait,
                                                     cl_event *event)
{
    const uint32_t at = atomic_fetch_add(&asked, 1);
    if (at < 64 && (atomic_load(&refused) >> at & 1))
        return CL_OUT_OF_RESOURCES;
    if (refuses(queue))
        return CL_DEVICE_NOT_AVAILABLE;
    cl_event *all = malloc((count + 1) * sizeof(cl_event));
    cr_assert_not_null(all);
    const cl_uint all_count = gather(queue, count, wait, all);
    cl_int status;
    if (!spoil(&spoiled_launches, queue, all_count, all, event, &status))
        status = real_clEnqueueNDRangeKernel(queue, kernel, dimensions, offset, global, local,
                                             all_count, all_count ? all : NULL, event);
    free(all);
    return status;
}

static cl_int CL_API_CALL own_clEnqueueReadBuffer(cl_command_queue queue, cl_mem memory,
                                                  cl_bool blocking, size_t offset, size_t size,
                                                  void *data, cl_uint count, const cl_event *wait,
                                                  cl_event *event)
{
    return is_lost(queue) ? CL_OUT_OF_RESOURCES
                          : real_clEnqueueReadBuffer(queue, memory, blocking, offset, size, data,
                                                     count, wait, event);
}

static cl_int CL_API_CALL own_clEnqueueWriteBuffer(cl_command_queue queue, cl_mem memory,
                                                   cl_bool blocking, size_t offset, size_t size,
                                                   const void *data, cl_uint count,
                                                   const cl_event *wait, cl_event *event)
{
    cl_int status;
    if (is_lost(queue))
        return CL_OUT_OF_RESOURCES;
    if (!blocking && spoil(&spoiled_writes, queue, count, wait, event, &status))
        return status;
    return real_clEnqueueWriteBuffer(queue, memory, blocking, offset, size, data, count, wait,
                                     event);
}

static cl_int CL_API_CALL own_clEnqueueMarkerWithWaitList(cl_command_queue queue, cl_uint count,
                                                          const cl_event *wait, cl_event *event)
{
    if (refuses(queue))
        return CL_DEVICE_NOT_AVAILABLE;
    cl_event *all = malloc((count + 1) * sizeof(cl_event));
    cr_assert_not_null(all);
    const cl_uint all_count = gather(queue, count, wait, all);
    const cl_int status =
        real_clEnqueueMarkerWithWaitList(queue, all_count, all_count ? all : NULL, event);
    free(all);
    return status;
}

static void find(const char *name, void *function, size_t size)
{
    void *found = dlsym(whole_library, name);
    cr_assert_not_null(found);
    memcpy(function, &found, size);
}

static cl_command_queue CL_API_CALL own_clCreateCommandQueue(cl_context context,
                                                             cl_device_id device,
                                                             cl_command_queue_properties properties,
                                                             cl_int *error)
{
    const cl_command_queue made = real_clCreateCommandQueue(context, device, properties, error);
    for (uint32_t i = 0; i < atomic_load(&lane_count) && i < LANES; i++)
        if (atomic_load(&lanes[i].queue) == made) /* a new one at the address of an old one */
            atomic_store(&lanes[i].queue, NULL);
    if (made && (properties & CL_QUEUE_PROFILING_ENABLE)) {
        const uint32_t at = atomic_fetch_add(&lane_count, 1);
        cr_assert(at < LANES);
        atomic_store(&lanes[at].way, -1);
        atomic_store(&lanes[at].queue, made);
    }
    return made;
}

/* Of the first device alone: tests that separate it use no other. */
static cl_int CL_API_CALL own_clGetDeviceInfo(cl_device_id device, cl_device_info name, size_t size,
                                              void *value, size_t *needed)
{
    static _Atomic(cl_device_id) first;
    const cl_int status = real_clGetDeviceInfo(device, name, size, value, needed);
    cl_device_id none = NULL;
    const cl_uint units = atomic_load(&claimed_units);
    if (status == CL_SUCCESS && name == CL_DEVICE_MAX_COMPUTE_UNITS && value && units)
        memcpy(value, &units, sizeof units);
    const cl_device_type gpu = CL_DEVICE_TYPE_GPU;
    if (status == CL_SUCCESS && name == CL_DEVICE_TYPE && value && atomic_load(&times_longer))
        memcpy(value, &gpu, sizeof gpu);
    atomic_compare_exchange_strong(&first, &none, device);
    if (status == CL_SUCCESS && name == CL_DEVICE_HOST_UNIFIED_MEMORY && value &&
        device == atomic_load(&first)) {
        const uint32_t look = atomic_fetch_add(&looks, 1);
        if (look < 32 && (atomic_load(&separate) >> look & 1))
            *(cl_bool *)value = CL_FALSE;
    }
    return status;
}

static cl_int CL_API_CALL own_clCreateSubDevices(cl_device_id device,
                                                 const cl_device_partition_property *by,
                                                 cl_uint capacity, cl_device_id *parts,
                                                 cl_uint *count)
{
    if (by[0] == CL_DEVICE_PARTITION_BY_COUNTS && part_count == 0)
        for (; part_count < 32 && by[1 + part_count] != 0; part_count++)
            part_units[part_count] = (uint32_t)by[1 + part_count];
    return real_clCreateSubDevices(device, by, capacity, parts, count);
}

static cl_context CL_API_CALL own_clCreateContext(
    const cl_context_properties *properties, cl_uint count, const cl_device_id *devices,
    void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *user,
    cl_int *error)
{
    const cl_context made = real_clCreateContext(properties, count, devices, notify, user, error);
    if (made && atomic_load(&contexts_until) >= 0 && atomic_fetch_sub(&contexts_until, 1) == 0)
        atomic_store(&bare, made);
    return made;
}

static cl_program CL_API_CALL own_clCreateProgramWithSource(cl_context context, cl_uint count,
                                                            const char **texts, const size_t *sizes,
                                                            cl_int *error)
{
    atomic_fetch_add(&programs, 1);
    if (context != atomic_load(&bare))
        return real_clCreateProgramWithSource(context, count, texts, sizes, error);
    *error = CL_INVALID_OPERATION;
    return NULL;
}

static cl_int CL_API_CALL own_clGetEventInfo(cl_event event, cl_event_info name, size_t size,
                                             void *value, size_t *needed)
{
    const cl_int status = real_clGetEventInfo(event, name, size, value, needed), failed = -9999;
    if (status != CL_SUCCESS || name != CL_EVENT_COMMAND_EXECUTION_STATUS || !value)
        return status;
    atomic_fetch_add(&status_asked, 1);
    if (ends_badly(event) || (*(cl_int *)value == CL_COMPLETE && is_spoiled(event)))
        memcpy(value, &failed, sizeof failed);
    return status;
}

static cl_int CL_API_CALL own_clWaitForEvents(cl_uint count, const cl_event *events)
{
    const cl_int status = real_clWaitForEvents(count, events);
    for (cl_uint i = 0; i < count; i++)
        if (ends_badly(events[i]) || is_spoiled(events[i]))
            return CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
    return status;
}

static cl_int CL_API_CALL own_clFlush(cl_command_queue queue)
{
    const cl_int status = real_clFlush(queue);
    atomic_fetch_add(&flushes, 1);
    return refuses(queue) ? CL_OUT_OF_RESOURCES : status;
}

static cl_int CL_API_CALL own_clRetainDevice(cl_device_id device)
{
    atomic_fetch_add(&abandoned, 1);
    return real_clRetainDevice(device);
}

/* The real work ends in any case, so that its memory may go. */
static cl_int CL_API_CALL own_clFinish(cl_command_queue queue)
{
    const cl_int status = real_clFinish(queue);
    return is_lost(queue) ? CL_OUT_OF_RESOURCES : status;
}

static cl_int CL_API_CALL own_clGetEventProfilingInfo(cl_event event, cl_profiling_info name,
                                                      size_t size, void *value, size_t *needed)
{
    cl_ulong start, end;
    const uint32_t longer = atomic_load(&times_longer);
    const cl_int status = real_clGetEventProfilingInfo(event, name, size, value, needed);
    if (status != CL_SUCCESS || name != CL_PROFILING_COMMAND_END || !value || !longer ||
        real_clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start,
                                     NULL) != CL_SUCCESS)
        return status;
    memcpy(&end, value, sizeof end);
    end = start + (end - start) * longer;
    memcpy(value, &end, sizeof end);
    return status;
}

#define own_clRetainEvent  real_clRetainEvent
#define own_clReleaseEvent real_clReleaseEvent

static void *get_proc(void *library, const char *name)
{
    void *found = dlsym(library, name), *result = found;
#define TAKE(function, type, parameters)                                                           \
    if (strcmp(name, #function) == 0) {                                                            \
        memcpy(&real_##function, &found, sizeof found);                                            \
        type(CL_API_CALL *own) parameters = own_##function;                                        \
        memcpy(&result, &own, sizeof result);                                                      \
    }
    CALLS(TAKE)
#undef TAKE
    return result;
}

void failing_cl_options(clattn_context_options *options)
{
    clattn_context_options_init(options);
    options->get_proc = get_proc;
    options->get_proc_user = whole_library = dlopen("libOpenCL.so.1", RTLD_NOW);
    cr_assert_not_null(whole_library);
}

#define COUNT(name, of)                                                                            \
    uint32_t failing_cl_##name(void)                                                               \
    {                                                                                              \
        return atomic_load(&of);                                                                   \
    }
COUNT(lanes, lane_count)
COUNT(asked, asked)
COUNT(status_asked, status_asked)
COUNT(programs, programs)
COUNT(flushes, flushes)
COUNT(abandoned, abandoned)

void failing_cl_units(uint32_t units)
{
    atomic_store(&claimed_units, units);
    part_count = 0;
}

uint32_t failing_cl_part(uint32_t index)
{
    return index < part_count ? part_units[index] : 0;
}

void failing_cl_claim_gpu(uint32_t longer)
{
    atomic_store(&times_longer, longer);
}

void failing_cl_separate(uint32_t times)
{
    atomic_store(&separate, times);
    atomic_store(&looks, 0);
}

void failing_cl_refuse_programs(int context)
{
    atomic_store(&bare, NULL);
    atomic_store(&contexts_until, context);
}

void failing_cl_refuse(uint64_t launches)
{
    atomic_store(&refused, launches);
    atomic_store(&asked, 0);
}

static void spoil_from_now(spoiler *what, uint64_t at)
{
    atomic_store(&what->at, at);
    atomic_store(&what->asked, 0);
}

void failing_cl_spoil(uint64_t at)
{
    spoil_from_now(&spoiled_launches, at);
}

void failing_cl_spoil_writes(uint64_t at)
{
    spoil_from_now(&spoiled_writes, at);
}

void failing_cl_hold(uint32_t index)
{
    cl_int(CL_API_CALL * info)(cl_command_queue, cl_command_queue_info, size_t, void *, size_t *);
    cl_event(CL_API_CALL * make)(cl_context, cl_int *);
    cl_context context;
    cr_assert(index < atomic_load(&lane_count));
    find("clGetCommandQueueInfo", &info, sizeof info);
    find("clCreateUserEvent", &make, sizeof make);
    cr_assert_eq(
        info(atomic_load(&lanes[index].queue), CL_QUEUE_CONTEXT, sizeof context, &context, NULL),
        CL_SUCCESS);
    const cl_event gate = make(context, NULL);
    cr_assert_not_null(gate);
    atomic_store(&lanes[index].gate, gate);
}

void failing_cl_release(uint32_t index)
{
    cl_int(CL_API_CALL * set)(cl_event, cl_int);
    find("clSetUserEventStatus", &set, sizeof set);
    const cl_event gate = atomic_exchange(&lanes[index].gate, NULL);
    cr_assert_not_null(gate);
    cr_assert_eq(set(gate, CL_COMPLETE), CL_SUCCESS);
    /* never given back: a launch that is being made may have taken it */
}

void failing_cl_lose(uint32_t index, failing_cl_way way)
{
    cr_assert(index < atomic_load(&lane_count));
    lane *of = &lanes[index];
    cl_event marker;
    cr_assert_eq(real_clEnqueueMarkerWithWaitList(atomic_load(&of->queue), 0, NULL, &marker),
                 CL_SUCCESS);
    atomic_store(&of->at, queued_at(marker));
    real_clReleaseEvent(marker);
    atomic_store(&of->way, (int)way);
}
