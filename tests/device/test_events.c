/* Events, wait lists, and what may be destroyed while work is in flight: a gate in the caller's own
 * queue keeps it there for as long as a test needs it. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "own_cl.h"
#include "rig.h"

static const rig_shape small = {1, 2, 2, 9, 9, 16, 16, CLATTN_ALIGN_BOTTOM_RIGHT};

/* --- events --------------------------------------------------------------------------------- */

/* A lane that is held, with one submission in flight on it. */
typedef struct flight {
    own_lane lane;
    rig_problem problem;
    rig_stage stage;
    clattn_event *event;
} flight;

static void take_off(flight *f, cl_command_queue_properties properties)
{
    memset(f, 0, sizeof *f);
    own_lane_open(&f->lane, properties);
    rig_full_make(f->lane.context, &small, &f->problem, &f->stage);
    rig_expect(&f->problem);
    own_lane_hold(&f->lane);
    cr_assert_eq(clattn_submit(f->lane.dispatcher, &f->stage.submission, &f->event), CLATTN_OK,
                 "%s", clattn_error_message());
}

static void land(flight *f)
{
    own_lane_go(&f->lane, CL_COMPLETE);
    clattn_event_release(f->event);
    rig_full_free(&f->problem, &f->stage);
    own_lane_close(&f->lane);
}

Test(events, wait_poll_and_message)
{
    static const uint64_t timeouts[] = {0, 1, 1000000, 5000000};
    flight f;
    take_off(&f, 0);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(clattn_event_poll(f.event), CLATTN_PENDING);
        cr_assert_eq(clattn_event_wait(f.event, timeouts[i]), CLATTN_ERR_TIMEOUT);
        cr_assert_str_not_empty(clattn_error_message());
        cr_assert_str_eq(clattn_event_message(f.event), "");
    }
    own_lane_go(&f.lane, CL_COMPLETE);
    cr_assert_eq(clattn_event_wait(f.event, UINT64_MAX), CLATTN_OK);
    cr_assert_eq(clattn_event_wait(f.event, 0), CLATTN_OK, "it stays done");
    cr_assert_eq(clattn_event_poll(f.event), CLATTN_OK);
    cr_assert_str_eq(clattn_event_message(f.event), "");
    rig_stage_fetch(&f.stage);
    rig_check(&f.problem);
    land(&f);
}

Test(events, polling_until_it_is_done)
{
    flight f;
    clattn_status status;
    take_off(&f, 0);
    own_lane_go(&f.lane, CL_COMPLETE);
    while ((status = clattn_event_poll(f.event)) == CLATTN_PENDING)
        ;
    cr_assert_eq(status, CLATTN_OK);
    rig_stage_fetch(&f.stage);
    rig_check(&f.problem);
    land(&f);
}

/* Another dispatcher's submission waits for the one that is held. */
Test(events, wait_list)
{
    flight f;
    rig_problem problem;
    rig_stage stage;
    clattn_event *second = NULL, *third = NULL;
    take_off(&f, 0);
    clattn_dispatcher *other = rig_dispatcher(f.lane.context);
    rig_full_make(f.lane.context, &small, &problem, &stage);
    /* its queries are what the first one writes */
    stage.binding[CLATTN_SLOT_Q].buffer = f.stage.buffer[CLATTN_SLOT_OUT];
    stage.binding[CLATTN_SLOT_Q].offset = f.stage.binding[CLATTN_SLOT_OUT].offset;
    clattn_event *wait[20];
    for (int i = 0; i < 20; i++)
        wait[i] = f.event; /* an event may be named more than once */
    stage.submission.wait = wait;
    stage.submission.wait_count = 20;
    cr_assert_eq(clattn_submit(other, &stage.submission, &second), CLATTN_OK, "%s",
                 clattn_error_message());
    clattn_submission empty;
    clattn_submission_init(&empty);
    empty.wait = &second;
    empty.wait_count = 1;
    cr_assert_eq(clattn_submit(f.lane.dispatcher, &empty, &third), CLATTN_OK);
    cr_assert_eq(clattn_event_wait(second, 5000000), CLATTN_ERR_TIMEOUT);
    cr_assert_eq(clattn_event_poll(third), CLATTN_PENDING);
    own_lane_go(&f.lane, CL_COMPLETE);
    cr_assert_eq(clattn_event_wait(third, UINT64_MAX), CLATTN_OK);
    cr_assert_eq(clattn_event_poll(second), CLATTN_OK);
    cr_assert_eq(clattn_event_poll(f.event), CLATTN_OK);
    rig_stage_fetch(&f.stage);
    memcpy(problem.tensor[CLATTN_SLOT_Q].memory, f.problem.tensor[CLATTN_SLOT_OUT].memory,
           (size_t)problem.tensor[CLATTN_SLOT_Q].count * sizeof(float));
    rig_expect(&problem);
    rig_stage_fetch(&stage);
    rig_check(&problem);
    clattn_event_release(second);
    clattn_event_release(third);
    clattn_dispatcher_destroy(other);
    rig_full_free(&problem, &stage);
    land(&f);
}

/* A finished event may be waited for, and so may one whose dispatcher is gone. */
Test(events, wait_list_with_what_is_done)
{
    rig_problem problem;
    rig_stage stage;
    clattn_event *first = NULL;
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher = rig_dispatcher(context);
    rig_full_make(context, &small, &problem, &stage);
    cr_assert_eq(clattn_submit(dispatcher, &stage.submission, &first), CLATTN_OK);
    cr_assert_eq(clattn_event_wait(first, UINT64_MAX), CLATTN_OK);
    stage.submission.wait = &first;
    stage.submission.wait_count = 1;
    rig_submit(dispatcher, &stage.submission);
    clattn_dispatcher_destroy(dispatcher);
    cr_assert_eq(clattn_event_poll(first), CLATTN_OK, "events outlive their dispatcher");
    dispatcher = rig_dispatcher(context);
    rig_submit(dispatcher, &stage.submission);
    clattn_event_release(first);
    clattn_dispatcher_destroy(dispatcher);
    rig_full_free(&problem, &stage);
    rig_close(context);
}

/* --- lifetimes ------------------------------------------------------------------------------ */

Test(events, plan_and_buffers_destroyed_in_flight)
{
    static const cl_command_queue_properties properties[] = {
        0, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE};
    for (int i = 0; i < 2; i++) {
        flight f;
        cl_int error;
        clattn_buffer *wrapped;
        take_off(&f, properties[i]);
        /* the second time with an output that can be read after its buffer is gone */
        rig_tensor *out = &f.problem.tensor[CLATTN_SLOT_OUT];
        const size_t size = (size_t)out->count * sizeof(float);
        const cl_mem memory = f.lane.cl.clCreateBuffer(
            f.lane.cl.context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, size, out->memory, &error);
        cr_assert_not_null(memory);
        cr_assert_eq(clattn_buffer_wrap_cl(f.lane.context, memory, &wrapped), CLATTN_OK);
        f.stage.binding[CLATTN_SLOT_OUT].buffer = wrapped;
        clattn_event_release(f.event);
        cr_assert_eq(clattn_submit(f.lane.dispatcher, &f.stage.submission, &f.event), CLATTN_OK);
        cr_assert_eq(clattn_buffer_destroy(wrapped), CLATTN_OK);
        rig_stage_free(&f.stage);
        cr_assert_eq(clattn_event_poll(f.event), CLATTN_PENDING);
        own_lane_go(&f.lane, CL_COMPLETE);
        cr_assert_eq(clattn_event_wait(f.event, UINT64_MAX), CLATTN_OK);
        cr_assert(own_cl_memory_is_free(&f.lane.cl, memory), "the buffer is still held");
        cr_assert_eq(f.lane.cl.clEnqueueReadBuffer(f.lane.queue, memory, CL_TRUE, 0, size,
                                                   out->memory, 0, NULL, NULL),
                     CL_SUCCESS);
        f.problem.tensor[CLATTN_SLOT_LSE].rank = f.problem.tensor[CLATTN_SLOT_WEIGHTS].rank = 0;
        rig_check(&f.problem);
        cr_assert_eq(f.lane.cl.clReleaseMemObject(memory), CL_SUCCESS);
        clattn_event_release(f.event);
        rig_free(&f.problem);
        own_lane_close(&f.lane);
    }
}

Test(events, an_event_released_in_flight)
{
    flight f;
    take_off(&f, 0);
    clattn_event_release(f.event);
    f.event = NULL;
    own_lane_go(&f.lane, CL_COMPLETE);
    cr_assert_eq(clattn_dispatcher_finish(f.lane.dispatcher), CLATTN_OK);
    rig_stage_fetch(&f.stage);
    rig_check(&f.problem);
    land(&f);
}

/* Opens the gate after a while. */
static void *open_later(void *user)
{
    const struct timespec moment = {.tv_nsec = 30000000};
    nanosleep(&moment, NULL);
    own_lane_go(user, CL_COMPLETE);
    return NULL;
}

Test(events, destroying_a_dispatcher_waits)
{
    flight f;
    pthread_t thread;
    take_off(&f, 0);
    cr_assert_eq(pthread_create(&thread, NULL, open_later, &f.lane), 0);
    clattn_dispatcher_destroy(f.lane.dispatcher);
    f.lane.dispatcher = NULL;
    cr_assert_eq(clattn_event_poll(f.event), CLATTN_OK, "destroy did not wait");
    cr_assert_eq(pthread_join(thread, NULL), 0);
    rig_stage_fetch(&f.stage);
    rig_check(&f.problem);
    land(&f);
}

static void expect_busy(clattn_context *context, const char *what)
{
    cr_assert_eq(clattn_context_destroy(context), CLATTN_ERR_BUSY, "with a %s left", what);
    cr_assert_str_not_empty(clattn_error_message());
}

Test(events, a_context_with_objects_is_busy)
{
    rig_problem problem;
    rig_stage stage;
    clattn_event *event = NULL;
    clattn_buffer *buffer = NULL;
    clattn_context *context = rig_open();
    rig_full_make(context, &small, &problem, &stage);
    cr_assert_eq(rig_run(context, &problem), CLATTN_OK); /* the context's own objects don't count */
    clattn_dispatcher *dispatcher = rig_dispatcher(context);
    cr_assert_eq(clattn_submit(dispatcher, &stage.submission, &event), CLATTN_OK);
    expect_busy(context, "plan, buffers, dispatcher, event");
    clattn_dispatcher_destroy(dispatcher);
    rig_stage_free(&stage);
    expect_busy(context, "event");
    cr_assert_eq(clattn_event_poll(event), CLATTN_OK);
    clattn_event_release(event);
    cr_assert_eq(clattn_buffer_create(context, 1, &buffer), CLATTN_OK);
    expect_busy(context, "buffer");
    cr_assert_eq(clattn_buffer_destroy(buffer), CLATTN_OK);
    dispatcher = rig_dispatcher(context);
    expect_busy(context, "dispatcher");
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
    rig_free(&problem);
}

/* --- failures ------------------------------------------------------------------------------- */

static atomic_bool failing;
static void *library;

/* What events say once the device is lost. */
static cl_int CL_API_CALL event_info(cl_event event, cl_event_info name, size_t size, void *value,
                                     size_t *needed)
{
    cl_int(CL_API_CALL * real)(cl_event, cl_event_info, size_t, void *, size_t *);
    const cl_int lost = CL_OUT_OF_RESOURCES;
    void *address = dlsym(library, "clGetEventInfo");
    memcpy(&real, &address, sizeof real);
    const cl_int status = real(event, name, size, value, needed);
    if (atomic_load(&failing) && name == CL_EVENT_COMMAND_EXECUTION_STATUS && value)
        memcpy(value, &lost, sizeof lost);
    return status;
}

static void *get_proc(void *user, const char *name)
{
    cl_int(CL_API_CALL * own)(cl_event, cl_event_info, size_t, void *, size_t *) = event_info;
    void *address = dlsym(user, name);
    if (strcmp(name, "clGetEventInfo") == 0)
        memcpy(&address, &own, sizeof address);
    return address;
}

/* A failure reaches everyone who waits for it, once each, and the dispatcher works on. */
Test(events, a_failure_reaches_who_waits)
{
    rig_problem problem;
    rig_stage stage;
    clattn_event *event = NULL;
    clattn_context *context = NULL;
    clattn_context_options options;
    clattn_context_options_init(&options);
    library = dlopen("libOpenCL.so.1", RTLD_NOW);
    cr_assert_not_null(library);
    options.get_proc = get_proc;
    options.get_proc_user = library;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK);
    rig_full_make(context, &small, &problem, &stage);
    clattn_dispatcher *dispatcher = rig_dispatcher(context);
    cr_assert_eq(clattn_submit(dispatcher, &stage.submission, &event), CLATTN_OK);
    atomic_store(&failing, true);
    cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_ERR_DEVICE_LOST);
    atomic_store(&failing, false);
    cr_assert_eq(clattn_event_poll(event), CLATTN_ERR_DEVICE_LOST, "a failure stays");
    cr_assert_str_eq(clattn_event_message(event), clattn_error_message());
    cr_assert(strstr(clattn_event_message(event), "CL_OUT_OF_RESOURCES"), "%s",
              clattn_event_message(event));
    stage.submission.wait = &event;
    stage.submission.wait_count = 1;
    cr_assert_eq(clattn_submit(dispatcher, &stage.submission, NULL), CLATTN_ERR_DEVICE_LOST);
    cr_assert(strstr(clattn_error_message(), "wait[0]"), "%s", clattn_error_message());
    stage.submission.wait_count = 0;
    cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_ERR_DEVICE_LOST);
    cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK, "told twice");
    rig_expect(&problem);
    rig_submit(dispatcher, &stage.submission);
    rig_stage_fetch(&stage);
    rig_check(&problem);
    clattn_event_release(event);
    clattn_dispatcher_destroy(dispatcher);
    rig_full_free(&problem, &stage);
    rig_close(context);
}
