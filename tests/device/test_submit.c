/* The steps of a submission. What is refused is in test_bindings.c, scratch memory in
 * test_workspace.c, what becomes of submissions in test_events.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "own_cl.h"
#include "rig.h"

static const rig_shape small = {1, 2, 2, 9, 9, 16, 16, CLATTN_ALIGN_BOTTOM_RIGHT};

/* The output of each step is the queries of the next; outputs and queries have the same place. */
enum { STEPS = 12 };

static void chain(clattn_context *context, clattn_dispatcher *dispatcher)
{
    rig_problem problem[2];
    rig_stage stage[2];
    clattn_step steps[STEPS];
    clattn_submission submission;
    for (int i = 0; i < 2; i++)
        rig_full_make(context, &small, &problem[i], &stage[i]);
    /* queries and outputs: each stage reads its Q, and writes the other's */
    for (int i = 0; i < 2; i++)
        stage[i].binding[CLATTN_SLOT_OUT] = (clattn_binding){
            .slot = CLATTN_SLOT_OUT,
            .buffer = stage[1 - i].buffer[CLATTN_SLOT_Q],
            .offset = stage[1 - i].binding[CLATTN_SLOT_Q].offset,
        };
    for (int i = 0; i < STEPS; i++)
        steps[i] = stage[i % 2].step;
    clattn_submission_init(&submission);
    submission.steps = steps;
    submission.step_count = STEPS;
    rig_submit(dispatcher, &submission);

    /* the same, one call after the other */
    rig_tensor *q = &problem[0].tensor[CLATTN_SLOT_Q], *out = &problem[0].tensor[CLATTN_SLOT_OUT];
    for (int i = 0; i < STEPS; i++) {
        cr_assert_eq(rig_run(context, &problem[0]), CLATTN_OK);
        memcpy(q->memory, out->memory, (size_t)q->count * sizeof(float));
    }
    float *expected = rig_gather(q, NULL);
    int64_t count;
    cr_assert_eq(clattn_buffer_read(stage[STEPS % 2].buffer[CLATTN_SLOT_Q], 0, q->memory,
                                    (uint64_t)q->count * sizeof(float)),
                 CLATTN_OK);
    float *found = rig_gather(q, &count);
    cr_assert_eq(memcmp(found, expected, (size_t)count * sizeof(float)), 0,
                 "%s: a step did not see what the one before wrote", rig_said());
    free(expected);
    free(found);
    for (int i = 0; i < 2; i++)
        rig_full_free(&problem[i], &stage[i]);
}

static void chain_on_own_lane(clattn_context *context, const char *kernel)
{
    (void)kernel;
    clattn_dispatcher *dispatcher = rig_dispatcher(context);
    chain(context, dispatcher);
    clattn_dispatcher_destroy(dispatcher);
}

Test(submit, a_step_sees_what_earlier_steps_wrote)
{
    rig_each_kernel(chain_on_own_lane);
}

Test(submit, steps_on_the_callers_queue)
{
    static const cl_command_queue_properties properties[] = {
        0, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, CL_QUEUE_PROFILING_ENABLE};
    for (int i = 0; i < 3; i++) {
        own_lane lane;
        rig_say("queue %d", i);
        own_lane_open(&lane, properties[i]);
        chain(lane.context, lane.dispatcher);
        own_lane_close(&lane);
    }
}

Test(submit, no_steps)
{
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher = rig_dispatcher(context);
    clattn_submission submission;
    clattn_submission_init(&submission);
    rig_submit(dispatcher, &submission);
    cr_assert_eq(clattn_submit(dispatcher, &submission, NULL), CLATTN_OK);
    cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}

/* Structs of a later version, longer and with nothing in what is unknown. */
Test(submit, longer_structs)
{
    struct {
        clattn_step step;
        uint64_t unknown[3];
    } steps[2];
    struct {
        clattn_submission submission;
        uint64_t unknown[3];
    } longer;
    rig_problem problem[2];
    rig_stage stage[2];
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher = rig_dispatcher(context);
    memset(steps, 0, sizeof steps);
    memset(&longer, 0, sizeof longer);
    for (int i = 0; i < 2; i++) {
        rig_full_make(context, &small, &problem[i], &stage[i]);
        steps[i].step = stage[i].step;
    }
    longer.submission = stage[0].submission;
    longer.submission.struct_size = sizeof longer;
    longer.submission.step_size = sizeof steps[0];
    longer.submission.steps = &steps[0].step;
    longer.submission.step_count = 2;
    rig_submit(dispatcher, &longer.submission);
    for (int i = 0; i < 2; i++) {
        rig_say("step %d", i);
        rig_expect(&problem[i]);
        rig_stage_fetch(&stage[i]);
        rig_check(&problem[i]);
    }
    steps[1].unknown[2] = 1;
    cr_assert_eq(clattn_submit(dispatcher, &longer.submission, NULL), CLATTN_ERR_UNSUPPORTED,
                 "an unknown field of a step was dropped");
    cr_assert(strstr(clattn_error_message(), "steps[1]"), "%s", clattn_error_message());
    steps[1].unknown[2] = 0;
    longer.unknown[0] = 1;
    cr_assert_eq(clattn_submit(dispatcher, &longer.submission, NULL), CLATTN_ERR_UNSUPPORTED,
                 "an unknown field of the submission was dropped");
    clattn_dispatcher_destroy(dispatcher);
    for (int i = 0; i < 2; i++)
        rig_full_free(&problem[i], &stage[i]);
    rig_close(context);
}

Test(submit, dispatcher_options)
{
    struct {
        clattn_dispatcher_options options;
        uint64_t unknown;
    } longer = {.unknown = 0};
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher = NULL;
    clattn_dispatcher_options_init(&longer.options);
    longer.options.struct_size = sizeof longer;
    longer.options.lanes = 1;
    longer.options.workspace = 1000;
    cr_assert_eq(clattn_dispatcher_create(context, &longer.options, &dispatcher), CLATTN_OK);
    clattn_dispatcher_destroy(dispatcher);
    longer.unknown = 1;
    cr_assert_eq(clattn_dispatcher_create(context, &longer.options, &dispatcher),
                 CLATTN_ERR_UNSUPPORTED);
    longer.unknown = 0;
    longer.options.lanes = clattn_context_device_count(context) + 1;
    cr_assert_eq(clattn_dispatcher_create(context, &longer.options, &dispatcher),
                 CLATTN_ERR_UNSUPPORTED);
    longer.options.lanes = 0;
    longer.options.workspace = UINT64_MAX;
    cr_assert_eq(clattn_dispatcher_create(context, &longer.options, &dispatcher),
                 CLATTN_ERR_OUT_OF_MEMORY);
    longer.options.struct_size = sizeof longer.options - 1;
    cr_assert_eq(clattn_dispatcher_create(context, &longer.options, &dispatcher),
                 CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_dispatcher_create(context, NULL, NULL), CLATTN_ERR_ARGUMENT);
    rig_close(context);
}

/* ---- tensors that come and go -----------------------------------------------------------------
 */

static clattn_plan *plan_with(clattn_context *context, uint64_t more)
{
    clattn_plan *plan = NULL;
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.n_q = 1;
    desc.n_kv = desc.head_dim = desc.value_dim = 4;
    desc.slots |= more;
    cr_assert_eq(clattn_plan_attention(context, &desc, &plan), CLATTN_OK, "%s",
                 clattn_error_message());
    return plan;
}

static void run_on(clattn_dispatcher *dispatcher, const clattn_plan *plan, clattn_buffer *memory,
                   clattn_buffer *lse)
{
    clattn_submission submission;
    clattn_binding bindings[5] = {{.slot = CLATTN_SLOT_LSE, .buffer = lse}};
    for (uint32_t i = 0; i < 4; i++)
        bindings[1 + i] = (clattn_binding){.slot = (clattn_slot)(CLATTN_SLOT_Q + i),
                                           .buffer = memory,
                                           .offset = 256 * (uint64_t)i};
    const clattn_step step = {
        .plan = plan, .bindings = lse ? bindings : bindings + 1, .binding_count = lse ? 5 : 4};
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    rig_submit(dispatcher, &submission);
}

/* Plans with and without LSE have the same kernel: what is gone is no argument of it any more.
 * meson fills freed memory. */
Test(submit, a_tensor_that_was_there)
{
    static float lse[1024];
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher = rig_dispatcher(context);
    clattn_plan *without = plan_with(context, 0),
                *with = plan_with(context, CLATTN_SLOT_BIT(CLATTN_SLOT_LSE));
    clattn_buffer *memory = NULL;
    cr_assert_eq(clattn_buffer_create(context, 1024, &memory), CLATTN_OK);
    run_on(dispatcher, without, memory, NULL);
    for (int round = 0; round < 4; round++) {
        clattn_buffer *gone = NULL;
        const clattn_status status = clattn_buffer_wrap_host(context, lse, sizeof lse, &gone);
        if (status == CLATTN_ERR_UNSUPPORTED) /* devices of several platforms */
            break;
        cr_assert_eq(status, CLATTN_OK, "%s", clattn_error_message());
        run_on(dispatcher, with, memory, gone);
        cr_assert_eq(clattn_buffer_destroy(gone), CLATTN_OK);
        run_on(dispatcher, without, memory, NULL);
    }
    cr_assert_eq(clattn_buffer_destroy(memory), CLATTN_OK);
    clattn_plan_destroy(with);
    clattn_plan_destroy(without);
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}
