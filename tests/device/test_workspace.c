/* Scratch memory of submissions: the caller's, the dispatcher's, and every wrong one. Kernels that
 * need none are left out. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const rig_shape small = {1, 2, 2, 9, 9, 16, 16, CLATTN_ALIGN_BOTTOM_RIGHT};

static void own_workspace(clattn_context *context, const char *kernel)
{
    enum { BEFORE = 512, BEHIND = 256 };
    rig_problem problem;
    rig_stage stage;
    uint64_t size = 0;
    clattn_buffer *workspace;
    clattn_dispatcher *dispatcher = rig_dispatcher(context);
    clattn_plan_info info = {.struct_size = sizeof info};
    rig_say("%s, workspace of the caller", kernel);
    rig_full_make(context, &small, &problem, &stage);
    rig_expect(&problem);
    cr_assert_eq(clattn_plan_workspace_size(stage.plan, &size), CLATTN_OK);
    cr_assert_eq(clattn_plan_get_info(stage.plan, &info), CLATTN_OK);
    cr_assert_eq(info.workspace, size);
    const uint64_t whole = BEFORE + size + BEHIND;
    unsigned char *bytes = malloc((size_t)whole);
    cr_assert_not_null(bytes);
    memset(bytes, 0xff, (size_t)whole); /* NaN: nothing may depend on what is in it */
    cr_assert_eq(clattn_buffer_create(context, whole, &workspace), CLATTN_OK);
    cr_assert_eq(clattn_buffer_write(workspace, 0, bytes, whole), CLATTN_OK);
    stage.submission.workspace = workspace;
    stage.submission.workspace_offset = BEFORE;
    rig_submit(dispatcher, &stage.submission);
    rig_stage_fetch(&stage);
    rig_check(&problem);
    cr_assert_eq(clattn_buffer_read(workspace, 0, bytes, whole), CLATTN_OK);
    for (uint64_t i = 0; i < whole; i++)
        cr_assert((i >= BEFORE && i < BEFORE + size) || bytes[i] == 0xff,
                  "%s: byte %d outside was written", rig_said(), (int)i);
    free(bytes);
    cr_assert_eq(clattn_buffer_destroy(workspace), CLATTN_OK);
    rig_full_free(&problem, &stage);
    clattn_dispatcher_destroy(dispatcher);
}

Test(workspace, of_the_caller)
{
    rig_each_kernel(own_workspace);
}

/* A dispatcher's scratch memory grows while smaller submissions use it. */
static void growing_workspace(clattn_context *context, const char *kernel)
{
    enum { SIZES = 5 };
    rig_problem problem[SIZES];
    rig_stage stage[SIZES];
    clattn_dispatcher *dispatcher = rig_dispatcher(context);
    for (int i = 0; i < SIZES; i++) {
        const rig_shape shape = {1, 2, 2, 20, 40 << i, 16, 16, CLATTN_ALIGN_NONE};
        rig_say("%s, size %d", kernel, i);
        rig_full_make(context, &shape, &problem[i], &stage[i]);
        rig_expect(&problem[i]);
    }
    for (int i = 0; i < SIZES; i++)
        cr_assert_eq(clattn_submit(dispatcher, &stage[i].submission, NULL), CLATTN_OK);
    cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
    for (int i = 0; i < SIZES; i++) {
        rig_say("%s, size %d", kernel, i);
        rig_stage_fetch(&stage[i]);
        rig_check(&problem[i]);
        rig_full_free(&problem[i], &stage[i]);
    }
    clattn_dispatcher_destroy(dispatcher);
}

Test(workspace, of_the_dispatcher_grows)
{
    rig_each_kernel(growing_workspace);
}

/* A good submission, and what is needed to spoil its workspace. */
typedef struct bench {
    rig_problem problem;
    rig_stage stage;
    clattn_buffer *large, *tiny, *foreign;
    uint64_t size; /* bytes that the plan needs */
} bench;

enum { LARGE = 1 << 20, TINY = 16 };

static void misaligned(bench *b)
{
    b->stage.submission.workspace_offset = 128;
}
static void small_buffer(bench *b)
{
    b->stage.submission.workspace = b->tiny;
}
static void near_the_end(bench *b)
{
    b->stage.submission.workspace_offset = (LARGE - b->size) / 256 * 256 + 256;
}
static void behind_the_end(bench *b)
{
    b->stage.submission.workspace_offset = UINT64_MAX - 255;
}
static void foreign(bench *b)
{
    b->stage.submission.workspace = b->foreign;
}
static void over_input(bench *b)
{
    b->stage.binding[CLATTN_SLOT_Q].buffer = b->large;
    b->stage.binding[CLATTN_SLOT_Q].offset = b->size - sizeof(float);
}
static void over_output(bench *b)
{
    b->stage.binding[CLATTN_SLOT_LSE].buffer = b->large;
    b->stage.binding[CLATTN_SLOT_LSE].offset = 0;
}

static const struct {
    const char *name;
    void (*spoil)(bench *b);
    const char *says;
} wrong[] = {
    {"misaligned", misaligned, "not a multiple of 256"},
    {"too small", small_buffer, "workspace: the plan needs"},
    {"too near to the end", near_the_end, "workspace: the plan needs"},
    {"behind the end", behind_the_end, "workspace: the plan needs"},
    {"of another context", foreign, "workspace: the buffer belongs to another"},
    {"over an input", over_input, "workspace: is written and shares memory with Q"},
    {"over an output", over_output, "is written and shares memory with"},
};

static clattn_buffer *new_buffer(clattn_context *context, uint64_t size)
{
    clattn_buffer *buffer = NULL;
    cr_assert_eq(clattn_buffer_create(context, size, &buffer), CLATTN_OK);
    return buffer;
}

static void expect_refusal(clattn_dispatcher *dispatcher, const bench *good, size_t which)
{
    bench bad = *good;
    bad.stage.step.bindings = bad.stage.binding;
    bad.stage.submission.steps = &bad.stage.step;
    wrong[which].spoil(&bad);
    cr_assert_eq(clattn_submit(dispatcher, &bad.stage.submission, NULL), CLATTN_ERR_ARGUMENT,
                 "%s: %s", rig_said(), wrong[which].name);
    cr_assert(strstr(clattn_error_message(), wrong[which].says), "%s: %s: %s", rig_said(),
              wrong[which].name, clattn_error_message());
}

static void refuse(clattn_context *context, const char *kernel)
{
    bench b;
    clattn_context *other = rig_open();
    clattn_dispatcher *dispatcher = rig_dispatcher(context);
    (void)kernel;
    rig_full_make(context, &small, &b.problem, &b.stage);
    b.large = new_buffer(context, LARGE);
    b.tiny = new_buffer(context, TINY);
    b.foreign = new_buffer(other, LARGE);
    b.stage.submission.workspace = b.large;
    cr_assert_eq(clattn_plan_workspace_size(b.stage.plan, &b.size), CLATTN_OK);
    for (size_t i = 0; i < COUNT(wrong) && b.size > TINY; i++)
        expect_refusal(dispatcher, &b, i);
    rig_submit(dispatcher, &b.stage.submission);
    clattn_dispatcher_destroy(dispatcher);
    cr_assert_eq(clattn_buffer_destroy(b.large), CLATTN_OK);
    cr_assert_eq(clattn_buffer_destroy(b.tiny), CLATTN_OK);
    cr_assert_eq(clattn_buffer_destroy(b.foreign), CLATTN_OK);
    rig_close(other);
    rig_full_free(&b.problem, &b.stage);
}

Test(workspace, every_wrong_one_is_refused)
{
    rig_each_kernel(refuse);
}

/* What one step writes must not lie where the next step has its scratch memory. */
static void over_another_steps_output(clattn_context *context, const char *kernel)
{
    const rig_shape larger = {1, 2, 2, 9, 2000, 16, 16, CLATTN_ALIGN_NONE};
    rig_problem problem[2];
    rig_stage stage[2];
    uint64_t size[2];
    clattn_dispatcher *dispatcher = rig_dispatcher(context);
    clattn_buffer *large = new_buffer(context, LARGE);
    (void)kernel;
    for (int i = 0; i < 2; i++) {
        rig_full_make(context, i ? &larger : &small, &problem[i], &stage[i]);
        cr_assert_eq(clattn_plan_workspace_size(stage[i].plan, &size[i]), CLATTN_OK);
    }
    const clattn_step steps[2] = {stage[0].step, stage[1].step};
    clattn_submission submission = stage[0].submission;
    submission.steps = steps;
    submission.step_count = 2;
    submission.workspace = large;
    stage[0].binding[CLATTN_SLOT_OUT].buffer = large;
    stage[0].binding[CLATTN_SLOT_OUT].offset = size[0];
    if (size[1] > size[0]) {
        cr_assert_eq(clattn_submit(dispatcher, &submission, NULL), CLATTN_ERR_ARGUMENT, "%s",
                     rig_said());
        cr_assert(strstr(clattn_error_message(), "shares memory with"), "%s",
                  clattn_error_message());
    }
    stage[0].binding[CLATTN_SLOT_OUT].offset = size[1];
    rig_submit(dispatcher, &submission);
    clattn_dispatcher_destroy(dispatcher);
    cr_assert_eq(clattn_buffer_destroy(large), CLATTN_OK);
    for (int i = 0; i < 2; i++)
        rig_full_free(&problem[i], &stage[i]);
}

Test(workspace, another_steps_output_is_safe)
{
    rig_each_kernel(over_another_steps_output);
}
