/* OpenCL refuses a launch: of a submission that goes straight through, and in the middle of one
 * that goes in parts, of which what is in flight is asked about afterwards, and must still be
 * there. */
#include <dlfcn.h>
#include <stdatomic.h>

#include <CL/cl.h>

#include "dispatch_rig.h"

typedef cl_int(CL_API_CALL *enqueue_fn)(cl_command_queue, cl_kernel, cl_uint, const size_t *,
                                        const size_t *, const size_t *, cl_uint, const cl_event *,
                                        cl_event *);
typedef cl_int(CL_API_CALL *count_fn)(cl_event);
typedef cl_int(CL_API_CALL *info_fn)(cl_event, cl_event_info, size_t, void *, size_t *);

static enqueue_fn real_enqueue;
static count_fn real_retain, real_release;
static info_fn real_info;

static atomic_int allowed;                 /* launches until one is refused */
static _Atomic(cl_event) watched;          /* of the last launch before */
static atomic_int references;              /* that clattn has to it */
static atomic_int asked_alive, asked_dead; /* how often its state was asked for */

static cl_int CL_API_CALL enqueue(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
                                  const size_t *offset, const size_t *global, const size_t *local,
                                  cl_uint count, const cl_event *wait, cl_event *event)
{
    const int left = atomic_fetch_sub(&allowed, 1);
    if (left == 0)
        return CL_OUT_OF_RESOURCES;
    const cl_int status =
        real_enqueue(queue, kernel, dimensions, offset, global, local, count, wait, event);
    if (left == 1 && event) {
        atomic_store(&references, 1);
        atomic_store(&watched, *event);
        real_retain(*event); /* so that no other gets its address */
    }
    return status;
}

static cl_int CL_API_CALL retain(cl_event event)
{
    atomic_fetch_add(&references, event == atomic_load(&watched));
    return real_retain(event);
}

static cl_int CL_API_CALL release(cl_event event)
{
    atomic_fetch_sub(&references, event == atomic_load(&watched));
    return real_release(event);
}

static cl_int CL_API_CALL info(cl_event event, cl_event_info name, size_t size, void *value,
                               size_t *needed)
{
    if (event == atomic_load(&watched))
        atomic_fetch_add(atomic_load(&references) > 0 ? &asked_alive : &asked_dead, 1);
    return real_info(event, name, size, value, needed);
}

/* Stores what was found as the real function, and returns the wrapper. */
static void *wrap(void *found, void *real, const void *wrapper)
{
    void *result;
    memcpy(real, &found, sizeof found);
    memcpy(&result, wrapper, sizeof result);
    return result;
}

static void *get_proc(void *user, const char *name)
{
    const enqueue_fn own_enqueue = enqueue;
    const count_fn own_retain = retain, own_release = release;
    const info_fn own_info = info;
    void *found = dlsym(user, name);
    if (strcmp(name, "clEnqueueNDRangeKernel") == 0)
        return wrap(found, &real_enqueue, &own_enqueue);
    if (strcmp(name, "clRetainEvent") == 0)
        return wrap(found, &real_retain, &own_retain);
    if (strcmp(name, "clReleaseEvent") == 0)
        return wrap(found, &real_release, &own_release);
    if (strcmp(name, "clGetEventInfo") == 0)
        return wrap(found, &real_info, &own_info);
    return found;
}

static void open_watched(heads *h)
{
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.get_proc = get_proc;
    options.get_proc_user = dlopen("libOpenCL.so.1", RTLD_NOW);
    cr_assert_not_null(options.get_proc_user);
    atomic_store(&allowed, 1000000);
    open_heads(h, &options);
}

/* The caller is told, and no statistics count it. */
Test(dispatch_faults, a_submission_that_is_refused)
{
    heads h;
    head_step of;
    clattn_event *event = NULL;
    clattn_submission submission;
    open_watched(&h);
    of.sequence = 3;
    const clattn_step step = step_of(&h, 1, &of);
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    atomic_store(&allowed, 0);
    cr_assert_eq(clattn_submit(dispatcher, &submission, &event), CLATTN_ERR_OPENCL);
    cr_assert_null(event);
    atomic_store(&allowed, 1000000);
    cr_assert_eq(clattn_submit(dispatcher, &submission, &event), CLATTN_OK);
    cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_OK);
    clattn_event_release(event);
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    cr_assert_eq(made.submissions, 1);
    cr_assert_eq(made.finished, 1);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

Test(dispatch_faults, a_part_that_is_refused)
{
    heads h;
    blocker b = {0};
    clattn_dispatcher_options parts;
    open_watched(&h);
    clattn_dispatcher_options_init(&parts);
    parts.launch_ns = 100000; /* far less than it takes, on any device */
    clattn_dispatcher *dispatcher = open_dispatcher(&h, &parts);
    block(&h, dispatcher, &b, 1000); /* the plan is made, and its parts run */
    cr_assert_eq(clattn_event_wait(b.event, UINT64_MAX), CLATTN_OK);
    cr_assert(statistics_of(dispatcher).lane[0].launches > 3, "it doesn't go in parts");
    unblock(&b);
    b = (blocker){0};
    int refused = 0;
    for (int part = 1; part < 6; part++) { /* how many there are depends on the device's speed */
        b = (blocker){0};
        atomic_store(&asked_alive, 0);
        atomic_store(&allowed, part);
        block(&h, dispatcher, &b, 1000);
        clattn_event_release(b.event);
        const clattn_status status = clattn_dispatcher_finish(dispatcher);
        const bool left = atomic_exchange(&allowed, 1000000) >= 0;
        cr_assert_eq(status, left ? CLATTN_OK : CLATTN_ERR_OPENCL, "part %d", part);
        refused += !left;
        cr_assert_eq(atomic_load(&asked_dead), 0, "part %d: its event was gone", part);
        cr_assert(left || atomic_load(&asked_alive) > 0, "part %d: nobody asked", part);
        cr_assert_eq(atomic_load(&references), 0, "part %d: its event is still held", part);
        if (atomic_load(&watched))
            real_release(atomic_load(&watched));
        atomic_store(&watched, NULL);
        clattn_plan_destroy(b.plan);
        cr_assert_eq(clattn_buffer_destroy(b.memory), CLATTN_OK);
    }
    cr_assert(refused > 0);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}
