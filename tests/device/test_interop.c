/* The caller's own OpenCL objects: context, queues in order and out of order, memory, events. What
 * clattn takes it retains, and gives back; what doesn't belong together it refuses. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "own_cl.h"
#include "rig.h"

static const rig_shape shape = {1, 2, 2, 19, 40, 16, 16, CLATTN_ALIGN_TOP_LEFT};

/* A stage whose tensors are in cl_mems of the caller. */
typedef struct own_stage {
    rig_problem problem;
    rig_stage stage;
    cl_mem memory[RIG_SLOTS];
} own_stage;

static void make_own(own_lane *lane, own_stage *own)
{
    const own_cl *cl = &lane->cl;
    memset(own, 0, sizeof *own);
    rig_make(&own->problem, &shape, RIG_FULL, &rig_contiguous);
    rig_expect(&own->problem);
    cr_assert_eq(rig_stage_make(lane->context, &own->problem, &own->stage), CLATTN_OK, "%s",
                 clattn_error_message());
    for (int slot = 0; slot < RIG_SLOTS; slot++) {
        const rig_tensor *tensor = &own->problem.tensor[slot];
        cl_int error;
        cr_assert_eq(clattn_buffer_destroy(own->stage.buffer[slot]), CLATTN_OK);
        own->memory[slot] = cl->clCreateBuffer(cl->context, CL_MEM_READ_WRITE,
                                               (size_t)tensor->count * 4, NULL, &error);
        cr_assert_not_null(own->memory[slot], "clCreateBuffer: %d", error);
        cr_assert_eq(
            clattn_buffer_wrap_cl(lane->context, own->memory[slot], &own->stage.buffer[slot]),
            CLATTN_OK, "%s", clattn_error_message());
        cr_assert_eq(clattn_buffer_size(own->stage.buffer[slot]), (uint64_t)tensor->count * 4);
        own->stage.binding[slot].buffer = own->stage.buffer[slot];
    }
}

static void free_own(own_lane *lane, own_stage *own)
{
    rig_stage_free(&own->stage);
    rig_free(&own->problem);
    for (int slot = 0; slot < RIG_SLOTS; slot++) {
        cr_assert(own_cl_memory_is_free(&lane->cl, own->memory[slot]), "slot %d is still held",
                  slot);
        cr_assert_eq(lane->cl.clReleaseMemObject(own->memory[slot]), CL_SUCCESS);
    }
}

/* Writes without blocking on the caller's queue; `done`, if wanted, is the last write's event. */
static void enqueue_writes(own_lane *lane, own_stage *own, cl_event *done)
{
    for (int slot = 0; slot < RIG_SLOTS; slot++) {
        const rig_tensor *tensor = &own->problem.tensor[slot];
        cr_assert_eq(lane->cl.clEnqueueWriteBuffer(lane->queue, own->memory[slot], CL_FALSE, 0,
                                                   (size_t)tensor->count * 4, tensor->memory, 0,
                                                   NULL, NULL),
                     CL_SUCCESS);
    }
    if (done)
        cr_assert_eq(lane->cl.clEnqueueMarkerWithWaitList(lane->queue, 0, NULL, done), CL_SUCCESS);
}

/* Reads after `after`, NULL: in the queue's order. */
static void read_back(own_lane *lane, own_stage *own, cl_event after)
{
    for (int slot = CLATTN_SLOT_OUT; slot < RIG_SLOTS; slot++) {
        rig_tensor *tensor = &own->problem.tensor[slot];
        cr_assert_eq(lane->cl.clEnqueueReadBuffer(lane->queue, own->memory[slot], CL_TRUE, 0,
                                                  (size_t)tensor->count * 4, tensor->memory,
                                                  after ? 1 : 0, after ? &after : NULL, NULL),
                     CL_SUCCESS);
    }
}

/* Write, attention and read in the caller's in-order queue, without a wait in between. */
Test(interop, in_order_with_what_the_caller_enqueues)
{
    own_lane lane;
    own_stage own;
    own_lane_open(&lane, 0);
    make_own(&lane, &own);
    own_lane_hold(&lane); /* so that nothing is done before all of it is enqueued */
    enqueue_writes(&lane, &own, NULL);
    cr_assert_eq(clattn_submit(lane.dispatcher, &own.stage.submission, NULL), CLATTN_OK, "%s",
                 clattn_error_message());
    own_lane_go(&lane, CL_COMPLETE);
    read_back(&lane, &own, NULL);
    rig_check(&own.problem);
    cr_assert_eq(clattn_dispatcher_finish(lane.dispatcher), CLATTN_OK);
    free_own(&lane, &own);
    own_lane_close(&lane);
}

/* Out of order: the caller waits for its writes, and reads after the submission's cl_event. */
Test(interop, out_of_order_by_events)
{
    own_lane lane;
    own_stage own;
    cl_event written = NULL, done = NULL;
    clattn_event *event = NULL;
    own_lane_open(&lane, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    make_own(&lane, &own);
    enqueue_writes(&lane, &own, &written);
    cr_assert_eq(lane.cl.clWaitForEvents(1, &written), CL_SUCCESS);
    for (int round = 0; round < 10; round++) {
        /* several in a row: they share the dispatcher's scratch memory, so they keep their order */
        if (event)
            clattn_event_release(event);
        cr_assert_eq(clattn_submit(lane.dispatcher, &own.stage.submission, &event), CLATTN_OK);
    }
    cr_assert_eq(clattn_event_get_cl(event, &done), CLATTN_OK, "%s", clattn_error_message());
    read_back(&lane, &own, done);
    rig_check(&own.problem);
    clattn_event_release(event);
    cr_assert_eq(lane.cl.clReleaseEvent(written), CL_SUCCESS);
    cr_assert_eq(lane.cl.clReleaseEvent(done), CL_SUCCESS);
    cr_assert_eq(clattn_dispatcher_finish(lane.dispatcher), CLATTN_OK);
    free_own(&lane, &own);
    own_lane_close(&lane);
}

/* Scratch memory that is written by one submission and read by the one before: with an out-of-order
 * queue only clattn's own order keeps them apart. */
Test(interop, out_of_order_submissions_do_not_mix)
{
    enum { STAGES = 4, ROUNDS = 8 };
    own_lane lane;
    own_stage own[STAGES];
    own_lane_open(&lane, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    for (int i = 0; i < STAGES; i++) {
        make_own(&lane, &own[i]);
        for (int64_t n = 0; n < own[i].problem.tensor[CLATTN_SLOT_K].count; n++)
            own[i].problem.tensor[CLATTN_SLOT_K].memory[n] *= (float)(i + 1);
        free(own[i].problem.expected.out);
        free(own[i].problem.expected.lse);
        free(own[i].problem.expected.weights);
        for (int input = 0; input < 3; input++)
            free(own[i].problem.input[input]);
        rig_expect(&own[i].problem);
        enqueue_writes(&lane, &own[i], NULL);
    }
    cr_assert_eq(lane.cl.clFinish(lane.queue), CL_SUCCESS);
    own_lane_hold(&lane);
    for (int n = 0; n < STAGES * ROUNDS; n++)
        cr_assert_eq(clattn_submit(lane.dispatcher, &own[n % STAGES].stage.submission, NULL),
                     CLATTN_OK);
    own_lane_go(&lane, CL_COMPLETE);
    cr_assert_eq(clattn_dispatcher_finish(lane.dispatcher), CLATTN_OK);
    for (int i = 0; i < STAGES; i++) {
        rig_say("stage %d", i);
        read_back(&lane, &own[i], NULL);
        rig_check(&own[i].problem);
        free_own(&lane, &own[i]);
    }
    own_lane_close(&lane);
}

/* The cl_event of a submission while it is held: the caller's other queue can wait for it, and it
 * stays valid when clattn's event is gone. */
Test(interop, event_get_cl)
{
    own_lane lane;
    own_stage own;
    cl_int state = 0, error;
    cl_event done = NULL;
    clattn_event *event = NULL;
    own_lane_open(&lane, 0);
    make_own(&lane, &own);
    enqueue_writes(&lane, &own, NULL);
    own_lane_hold(&lane);
    cr_assert_eq(clattn_submit(lane.dispatcher, &own.stage.submission, &event), CLATTN_OK);
    cr_assert_eq(clattn_event_get_cl(event, &done), CLATTN_OK);
    clattn_event_release(event);
    cr_assert_eq(
        lane.cl.clGetEventInfo(done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL),
        CL_SUCCESS);
    cr_assert_neq(state, CL_COMPLETE);
    const cl_command_queue other =
        lane.cl.clCreateCommandQueue(lane.cl.context, lane.cl.device, 0, &error);
    cr_assert_not_null(other);
    rig_tensor *out = &own.problem.tensor[CLATTN_SLOT_OUT];
    cr_assert_eq(lane.cl.clEnqueueReadBuffer(other, own.memory[CLATTN_SLOT_OUT], CL_FALSE, 0,
                                             (size_t)out->count * 4, out->memory, 1, &done, NULL),
                 CL_SUCCESS);
    cr_assert_eq(lane.cl.clFlush(other), CL_SUCCESS);
    own_lane_go(&lane, CL_COMPLETE);
    cr_assert_eq(lane.cl.clFinish(other), CL_SUCCESS);
    read_back(&lane, &own, NULL);
    rig_check(&own.problem);
    cr_assert_eq(lane.cl.clReleaseEvent(done), CL_SUCCESS);
    cr_assert_eq(lane.cl.clReleaseCommandQueue(other), CL_SUCCESS);
    cr_assert_eq(clattn_event_get_cl(NULL, &done), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_dispatcher_finish(lane.dispatcher), CLATTN_OK);
    free_own(&lane, &own);
    own_lane_close(&lane);
}

Test(interop, what_is_taken_is_given_back)
{
    own_cl cl;
    cl_int error;
    clattn_context *context = NULL;
    clattn_dispatcher *dispatcher = NULL;
    clattn_buffer *buffer = NULL;
    own_cl_open(&cl);
    const cl_command_queue queue = cl.clCreateCommandQueue(cl.context, cl.device, 0, &error);
    const cl_mem memory = cl.clCreateBuffer(cl.context, CL_MEM_READ_WRITE, 64, NULL, &error);
    cr_assert(queue && memory);
    const cl_uint before = own_cl_context_references(&cl);
    cr_assert_eq(clattn_context_create_from_cl(cl.context, cl.device, NULL, &context), CLATTN_OK,
                 "%s", clattn_error_message());
    cr_assert_gt(own_cl_context_references(&cl), before, "the context is not retained");
    cr_assert_eq(clattn_dispatcher_create_from_cl(context, queue, &dispatcher), CLATTN_OK);
    cr_assert_eq(own_cl_queue_references(&cl, queue), 2, "the queue is not retained");
    cr_assert_eq(clattn_buffer_wrap_cl(context, memory, &buffer), CLATTN_OK);
    cr_assert_eq(own_cl_memory_references(&cl, memory), 2, "the memory is not retained");
    cr_assert_eq(clattn_context_destroy(context), CLATTN_ERR_BUSY);
    clattn_dispatcher_destroy(dispatcher);
    cr_assert_eq(clattn_buffer_destroy(buffer), CLATTN_OK);
    rig_close(context);
    cr_assert_eq(own_cl_queue_references(&cl, queue), 1);
    cr_assert_eq(own_cl_memory_references(&cl, memory), 1);
    cr_assert_eq(own_cl_context_references(&cl), before);
    cr_assert_eq(cl.clReleaseMemObject(memory), CL_SUCCESS);
    cr_assert_eq(cl.clReleaseCommandQueue(queue), CL_SUCCESS);
    own_cl_close(&cl);
}

static void expect_refusal(clattn_status status, const char *says)
{
    cr_assert_eq(status, CLATTN_ERR_ARGUMENT, "%s instead of: %s", clattn_status_string(status),
                 says);
    cr_assert(strstr(clattn_error_message(), says), "%s instead of: %s", clattn_error_message(),
              says);
}

/* Context, queue and memory of two different cl_contexts. */
Test(interop, foreign_objects_are_refused)
{
    own_lane lane;
    own_cl other;
    cl_int error;
    clattn_context *context = NULL;
    clattn_dispatcher *dispatcher = NULL;
    clattn_buffer *buffer = NULL;
    own_lane_open(&lane, 0);
    own_cl_open(&other);
    const cl_command_queue queue =
        other.clCreateCommandQueue(other.context, other.device, 0, &error);
    const cl_mem memory = other.clCreateBuffer(other.context, CL_MEM_READ_WRITE, 64, NULL, &error);
    cr_assert(queue && memory);
    expect_refusal(clattn_dispatcher_create_from_cl(lane.context, queue, &dispatcher),
                   "queue: belongs to another");
    expect_refusal(clattn_buffer_wrap_cl(lane.context, memory, &buffer),
                   "memory: belongs to another");
    expect_refusal(clattn_context_create_from_cl(other.context, NULL, NULL, &context),
                   "device: is NULL");
    expect_refusal(clattn_context_create_from_cl(NULL, other.device, NULL, &context),
                   "cl: is NULL");
    expect_refusal(clattn_context_create_from_cl(other.context, other.device, NULL, NULL),
                   "context: is NULL");
    expect_refusal(clattn_buffer_wrap_cl(lane.context, NULL, &buffer), "memory: is NULL");
    expect_refusal(clattn_buffer_wrap_cl(NULL, memory, &buffer), "context: is NULL");
    expect_refusal(clattn_dispatcher_create_from_cl(lane.context, NULL, &dispatcher),
                   "queue: is NULL");
    cr_assert_eq(own_cl_queue_references(&other, queue), 1, "a refusal keeps nothing");
    cr_assert_eq(own_cl_memory_references(&other, memory), 1, "a refusal keeps nothing");
    cr_assert_eq(other.clReleaseMemObject(memory), CL_SUCCESS);
    cr_assert_eq(other.clReleaseCommandQueue(queue), CL_SUCCESS);
    own_cl_close(&other);
    own_lane_close(&lane);
}

/* A device that is none of the context's. Without a second device it is an address that no driver
 * gave out: it is compared with the context's devices, never used. */
Test(interop, foreign_device_is_refused)
{
    own_cl cl;
    static long no_device[64];
    cl_device_id devices[16];
    cl_uint count = 0;
    clattn_context *context = NULL;
    cl_device_id foreign = (cl_device_id)(void *)no_device;
    own_cl_open(&cl);
    cr_assert_eq(cl.clGetDeviceIDs(cl.platform, CL_DEVICE_TYPE_ALL, 16, devices, &count),
                 CL_SUCCESS);
    if (count > 1)
        foreign = devices[1];
    expect_refusal(clattn_context_create_from_cl(cl.context, foreign, NULL, &context), "device");
    cr_assert_null(context);
    own_cl_close(&cl);
}

/* One cl_mem wrapped twice is still one memory. */
Test(interop, overlap_is_seen_through_two_wrappings)
{
    own_lane lane;
    own_stage own;
    clattn_buffer *again = NULL;
    own_lane_open(&lane, 0);
    make_own(&lane, &own);
    cr_assert_eq(clattn_buffer_wrap_cl(lane.context, own.memory[CLATTN_SLOT_Q], &again), CLATTN_OK);
    own.stage.binding[CLATTN_SLOT_LSE].buffer = again;
    expect_refusal(clattn_submit(lane.dispatcher, &own.stage.submission, NULL),
                   "LSE: is written and shares memory with Q");
    cr_assert_eq(clattn_buffer_destroy(again), CLATTN_OK);
    free_own(&lane, &own);
    own_lane_close(&lane);
}

/* Reading, writing and mapping of wrapped memory. */
Test(interop, wrapped_memory_from_the_host)
{
    own_lane lane;
    cl_int error;
    clattn_buffer *buffer = NULL;
    uint32_t words[4] = {1, 2, 3, 4}, found[4] = {0};
    void *mapped = NULL;
    own_lane_open(&lane, 0);
    const cl_mem memory =
        lane.cl.clCreateBuffer(lane.cl.context, CL_MEM_READ_WRITE, sizeof words, NULL, &error);
    cr_assert_not_null(memory);
    cr_assert_eq(clattn_buffer_wrap_cl(lane.context, memory, &buffer), CLATTN_OK);
    cr_assert_eq(clattn_buffer_write(buffer, 0, words, sizeof words), CLATTN_OK);
    cr_assert_eq(lane.cl.clEnqueueReadBuffer(lane.queue, memory, CL_TRUE, 0, sizeof found, found, 0,
                                             NULL, NULL),
                 CL_SUCCESS);
    cr_assert_arr_eq(found, words, sizeof words);
    cr_assert_eq(clattn_buffer_map(buffer, &mapped), CLATTN_OK);
    cr_assert_arr_eq(mapped, words, sizeof words);
    cr_assert_eq(clattn_buffer_map(buffer, &mapped), CLATTN_ERR_BUSY);
    cr_assert_eq(clattn_buffer_destroy(buffer), CLATTN_ERR_BUSY);
    ((uint32_t *)mapped)[2] = 77;
    cr_assert_eq(clattn_buffer_unmap(buffer), CLATTN_OK);
    cr_assert_eq(clattn_buffer_unmap(buffer), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_buffer_read(buffer, 8, found, 4), CLATTN_OK);
    cr_assert_eq(found[0], 77);
    cr_assert_eq(clattn_buffer_read(buffer, 13, found, 4), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_buffer_read(buffer, UINT64_MAX, found, 4), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_buffer_write(buffer, 16, NULL, 0), CLATTN_OK);
    cr_assert_eq(clattn_buffer_destroy(buffer), CLATTN_OK);
    cr_assert_eq(lane.cl.clReleaseMemObject(memory), CL_SUCCESS);
    own_lane_close(&lane);
}

/* A submission that waits for an event of the caller's, and whose event the caller waits for. */
Test(interop, submitting_between_the_callers_commands)
{
    own_lane lane;
    own_stage own;
    cl_event done = NULL;
    cl_int error;
    own_lane_open(&lane, 0);
    make_own(&lane, &own);
    const cl_event gate = lane.cl.clCreateUserEvent(lane.cl.context, &error);
    cr_assert_not_null(gate);
    cr_assert_eq(clattn_submit_cl(lane.dispatcher, &own.stage.submission, 1, NULL, &done, NULL),
                 CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_submit_cl(lane.dispatcher, &own.stage.submission, 1, &gate, &done, NULL),
                 CLATTN_OK, "%s", clattn_error_message());
    cl_int state = CL_COMPLETE;
    cr_assert_eq(
        lane.cl.clGetEventInfo(done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL),
        CL_SUCCESS);
    cr_assert_neq(state, CL_COMPLETE, "it did not wait");
    cr_assert_eq(lane.cl.clSetUserEventStatus(gate, CL_COMPLETE), CL_SUCCESS);
    cr_assert_eq(lane.cl.clWaitForEvents(1, &done), CL_SUCCESS);
    cr_assert_eq(lane.cl.clReleaseEvent(done), CL_SUCCESS);
    cr_assert_eq(lane.cl.clReleaseEvent(gate), CL_SUCCESS);
    cr_assert_eq(clattn_dispatcher_finish(lane.dispatcher), CLATTN_OK);
    clattn_dispatcher *other = NULL;
    cr_assert_eq(clattn_dispatcher_create(lane.context, NULL, &other), CLATTN_OK);
    cr_assert_eq(clattn_submit_cl(other, &own.stage.submission, 0, NULL, NULL, NULL),
                 CLATTN_ERR_ARGUMENT, "it has a queue of its own");
    clattn_dispatcher_destroy(other);
    free_own(&lane, &own);
    own_lane_close(&lane);
}
