/* What a submission refuses: every wrong binding, struct and object, each with a
 * sentence that names it, and with nothing done. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* A good submission of one kernel, and what is needed to spoil it. */
typedef struct bench {
    rig_problem problem;
    rig_stage stage;
    clattn_context *context, *other_context;
    clattn_dispatcher *dispatcher;
    clattn_buffer *tiny;    /* 16 bytes */
    clattn_buffer *foreign; /* of other_context, large */
    clattn_buffer *large;   /* of context */
    clattn_plan *foreign_plan;
    clattn_event *foreign_event;
    clattn_event *null_event;
    clattn_step two[2];
    clattn_binding extra[RIG_SLOTS + 1];
} bench;

enum { LARGE = 1 << 20 };

static clattn_binding *binding_of(bench *b, clattn_slot slot)
{
    return &b->stage.binding[slot];
}

/* --- what is spoilt ------------------------------------------------------------------------- */

static void missing(bench *b)
{
    b->stage.step.binding_count--;
}
static void none(bench *b)
{
    b->stage.step.binding_count = 0;
}
static void null_array(bench *b)
{
    b->stage.step.bindings = NULL;
}
static void twice(bench *b)
{
    *binding_of(b, CLATTN_SLOT_K) = *binding_of(b, CLATTN_SLOT_Q);
}
static void twice_besides(bench *b)
{
    memcpy(b->extra, b->stage.binding, sizeof b->stage.binding);
    b->extra[RIG_SLOTS] = b->extra[CLATTN_SLOT_V];
    b->stage.step.bindings = b->extra;
    b->stage.step.binding_count = RIG_SLOTS + 1;
}
static void unknown_slot(bench *b)
{
    binding_of(b, CLATTN_SLOT_V)->slot = (clattn_slot)63;
}
static void negative_slot(bench *b)
{
    binding_of(b, CLATTN_SLOT_V)->slot = (clattn_slot)-1;
}
static void huge_slot(bench *b)
{
    binding_of(b, CLATTN_SLOT_V)->slot = (clattn_slot)2000000000;
}
static void null_buffer(bench *b)
{
    binding_of(b, CLATTN_SLOT_V)->buffer = NULL;
}
static void small_buffer(bench *b)
{
    binding_of(b, CLATTN_SLOT_K)->buffer = b->tiny;
    binding_of(b, CLATTN_SLOT_K)->offset = 0;
}
static void offset_one_too_far(bench *b)
{
    /* the margin behind the tensor is gone with 7 elements; one more does not fit */
    binding_of(b, CLATTN_SLOT_OUT)->offset += 8 * sizeof(float);
}
static void offset_behind_the_end(bench *b)
{
    binding_of(b, CLATTN_SLOT_LSE)->offset = LARGE;
}
static void offset_wraps_around(bench *b)
{
    binding_of(b, CLATTN_SLOT_Q)->offset = UINT64_MAX - 3;
}
static void odd_offset(bench *b)
{
    binding_of(b, CLATTN_SLOT_Q)->offset += 2;
}
static void foreign_buffer(bench *b)
{
    binding_of(b, CLATTN_SLOT_Q)->buffer = b->foreign;
}
static void out_is_q(bench *b)
{
    *binding_of(b, CLATTN_SLOT_OUT) = *binding_of(b, CLATTN_SLOT_Q);
    binding_of(b, CLATTN_SLOT_OUT)->slot = CLATTN_SLOT_OUT;
}
/* The last element of LSE is the first of OUT. */
static void outputs_touch(bench *b)
{
    const rig_shape *of = &b->problem.shape;
    const uint64_t rows = (uint64_t)(of->batch * of->n_head * of->n_q);
    binding_of(b, CLATTN_SLOT_LSE)->buffer = b->large;
    binding_of(b, CLATTN_SLOT_LSE)->offset = 0;
    binding_of(b, CLATTN_SLOT_OUT)->buffer = b->large;
    binding_of(b, CLATTN_SLOT_OUT)->offset = (rows - 1) * sizeof(float);
}
static void weights_over_v(bench *b)
{
    binding_of(b, CLATTN_SLOT_V)->buffer = b->large;
    binding_of(b, CLATTN_SLOT_V)->offset = 64;
    binding_of(b, CLATTN_SLOT_WEIGHTS)->buffer = b->large;
    binding_of(b, CLATTN_SLOT_WEIGHTS)->offset = 0;
}
static void binding_reserved(bench *b)
{
    binding_of(b, CLATTN_SLOT_K)->reserved = 1;
}
static void step_head(bench *b)
{
    b->stage.step.first_kv_head = (uint32_t)1 << 31;
}
static void submission_reserved(bench *b)
{
    b->stage.submission.reserved = 1;
}
static void no_plan(bench *b)
{
    b->stage.step.plan = NULL;
}
static void foreign_plan(bench *b)
{
    b->stage.step.plan = b->foreign_plan;
}
static void no_steps(bench *b)
{
    b->stage.submission.steps = NULL;
}
static void short_struct(bench *b)
{
    b->stage.submission.struct_size--;
}
static void no_struct_size(bench *b)
{
    b->stage.submission.struct_size = 0;
}
static void absurd_struct_size(bench *b)
{
    b->stage.submission.struct_size = UINT32_MAX;
}
static void short_step(bench *b)
{
    b->stage.submission.step_size--;
}
static void no_step_size(bench *b)
{
    b->stage.submission.step_size = 0;
}
static void absurd_step_size(bench *b)
{
    b->stage.submission.step_size = UINT32_MAX;
}
static void no_wait_array(bench *b)
{
    b->stage.submission.wait_count = 1;
}
static void null_in_wait(bench *b)
{
    b->stage.submission.wait = &b->null_event;
    b->stage.submission.wait_count = 1;
}
static void foreign_wait(bench *b)
{
    b->stage.submission.wait = &b->foreign_event;
    b->stage.submission.wait_count = 1;
}
/* The first step is good, and must not be done either. */
static void second_step(bench *b)
{
    b->two[0] = b->two[1] = b->stage.step;
    b->two[1].binding_count--;
    b->stage.submission.steps = b->two;
    b->stage.submission.step_count = 2;
}

static const struct {
    const char *name;
    void (*spoil)(bench *b);
    clattn_status status;
    const char *says; /* a part of the sentence */
} wrong[] = {
    {"a slot is missing", missing, CLATTN_ERR_ARGUMENT, "WEIGHTS: is not bound"},
    {"no bindings", none, CLATTN_ERR_ARGUMENT, "Q: is not bound"},
    {"bindings NULL", null_array, CLATTN_ERR_ARGUMENT, "bindings: is NULL"},
    {"a slot twice, one missing", twice, CLATTN_ERR_ARGUMENT, "Q: is bound twice"},
    {"a slot twice", twice_besides, CLATTN_ERR_ARGUMENT, "V: is bound twice"},
    {"unknown slot", unknown_slot, CLATTN_ERR_ARGUMENT, "63 is not a slot"},
    {"negative slot", negative_slot, CLATTN_ERR_ARGUMENT, "-1 is not a slot"},
    {"huge slot", huge_slot, CLATTN_ERR_ARGUMENT, "2000000000 is not a slot"},
    {"buffer NULL", null_buffer, CLATTN_ERR_ARGUMENT, "V: buffer is NULL"},
    {"buffer too small", small_buffer, CLATTN_ERR_ARGUMENT, "K: needs"},
    {"offset too large", offset_one_too_far, CLATTN_ERR_ARGUMENT, "OUT: needs"},
    {"offset behind the end", offset_behind_the_end, CLATTN_ERR_ARGUMENT, "LSE: needs"},
    {"offset wraps", offset_wraps_around, CLATTN_ERR_ARGUMENT, "Q: "},
    {"offset not aligned", odd_offset, CLATTN_ERR_ARGUMENT, "Q: offset"},
    {"foreign buffer", foreign_buffer, CLATTN_ERR_ARGUMENT, "Q: the buffer belongs to another"},
    {"OUT is Q", out_is_q, CLATTN_ERR_ARGUMENT, "OUT: is written and shares memory with Q"},
    {"outputs touch", outputs_touch, CLATTN_ERR_ARGUMENT, "is written and shares memory with"},
    {"WEIGHTS over V", weights_over_v, CLATTN_ERR_ARGUMENT, "WEIGHTS: is written and shares"},
    {"binding.reserved", binding_reserved, CLATTN_ERR_ARGUMENT, "K: reserved"},
    {"head of a step", step_head, CLATTN_ERR_ARGUMENT, "first_kv_head"},
    {"submission.reserved", submission_reserved, CLATTN_ERR_ARGUMENT, "submission: reserved"},
    {"plan NULL", no_plan, CLATTN_ERR_ARGUMENT, "plan: is NULL"},
    {"foreign plan", foreign_plan, CLATTN_ERR_ARGUMENT, "plan: belongs to another context"},
    {"steps NULL", no_steps, CLATTN_ERR_ARGUMENT, "steps is NULL"},
    {"struct_size one less", short_struct, CLATTN_ERR_ARGUMENT, "struct_size"},
    {"struct_size 0", no_struct_size, CLATTN_ERR_ARGUMENT, "struct_size"},
    {"struct_size absurd", absurd_struct_size, CLATTN_ERR_ARGUMENT, "struct_size"},
    {"step_size one less", short_step, CLATTN_ERR_ARGUMENT, "step_size"},
    {"step_size 0", no_step_size, CLATTN_ERR_ARGUMENT, "step_size"},
    {"step_size absurd", absurd_step_size, CLATTN_ERR_ARGUMENT, "step_size"},
    {"wait NULL", no_wait_array, CLATTN_ERR_ARGUMENT, "wait is NULL"},
    {"NULL in wait", null_in_wait, CLATTN_ERR_ARGUMENT, "wait[0]: is NULL"},
    {"foreign event", foreign_wait, CLATTN_ERR_ARGUMENT, "wait[0]: the event belongs to another"},
    {"second step", second_step, CLATTN_ERR_ARGUMENT, "steps[1]: WEIGHTS: is not bound"},
};

/* --- the bench ------------------------------------------------------------------------------ */

/* The same slots in another context: a plan, a buffer, an event. */
static void make_foreign(bench *b)
{
    clattn_attention_desc desc;
    clattn_submission empty;
    clattn_dispatcher *dispatcher;
    b->other_context = rig_open();
    rig_describe(&b->problem, &desc);
    cr_assert_eq(clattn_plan_attention(b->other_context, &desc, &b->foreign_plan), CLATTN_OK);
    cr_assert_eq(clattn_buffer_create(b->other_context, LARGE, &b->foreign), CLATTN_OK);
    cr_assert_eq(clattn_dispatcher_create(b->other_context, NULL, &dispatcher), CLATTN_OK);
    clattn_submission_init(&empty);
    cr_assert_eq(clattn_submit(dispatcher, &empty, &b->foreign_event), CLATTN_OK);
    clattn_dispatcher_destroy(dispatcher);
}

static void set_up(clattn_context *context, bench *b)
{
    const rig_shape shape = {1, 2, 2, 9, 9, 16, 16, CLATTN_ALIGN_BOTTOM_RIGHT};
    memset(b, 0, sizeof *b);
    b->context = context;
    rig_make(&b->problem, &shape, RIG_FULL, &rig_contiguous);
    rig_expect(&b->problem);
    cr_assert_eq(rig_stage_make(context, &b->problem, &b->stage), CLATTN_OK);
    cr_assert_eq(clattn_dispatcher_create(context, NULL, &b->dispatcher), CLATTN_OK);
    cr_assert_eq(clattn_buffer_create(context, 16, &b->tiny), CLATTN_OK);
    cr_assert_eq(clattn_buffer_create(context, LARGE, &b->large), CLATTN_OK);
    make_foreign(b);
}

static void tear_down(bench *b)
{
    clattn_event_release(b->foreign_event);
    clattn_plan_destroy(b->foreign_plan);
    cr_assert_eq(clattn_buffer_destroy(b->foreign), CLATTN_OK);
    rig_close(b->other_context);
    clattn_dispatcher_destroy(b->dispatcher);
    cr_assert_eq(clattn_buffer_destroy(b->tiny), CLATTN_OK);
    cr_assert_eq(clattn_buffer_destroy(b->large), CLATTN_OK);
    rig_stage_free(&b->stage);
    rig_free(&b->problem);
}

static void expect_refusal(const bench *good, void (*spoil)(bench *b), clattn_status status,
                           const char *says)
{
    bench bad = *good;
    clattn_event *event = NULL;
    bad.stage.step.bindings = bad.stage.binding;
    bad.stage.submission.steps = &bad.stage.step;
    spoil(&bad);
    const clattn_status found = clattn_submit(bad.dispatcher, &bad.stage.submission, &event);
    cr_assert_eq(found, status, "%s: %s", rig_said(), clattn_status_string(found));
    cr_assert(strstr(clattn_error_message(), says), "%s: %s", rig_said(), clattn_error_message());
    cr_assert_null(event, "%s: there is an event", rig_said());
}

/* Nothing of all that was refused reached the device, and what is right still works. */
static void expect_untouched(bench *b)
{
    rig_say("after refusals");
    cr_assert_eq(clattn_dispatcher_finish(b->dispatcher), CLATTN_OK);
    rig_stage_fetch(&b->stage);
    for (int slot = CLATTN_SLOT_OUT; slot < RIG_SLOTS; slot++) {
        const rig_tensor *tensor = &b->problem.tensor[slot];
        cr_assert_eq(memcmp(tensor->memory, tensor->before, (size_t)tensor->count * sizeof(float)),
                     0, "slot %d was written", slot);
    }
    rig_submit(b->dispatcher, &b->stage.submission);
    rig_stage_fetch(&b->stage);
    rig_check(&b->problem);
}

static void refuse_bindings(clattn_context *context, const char *kernel)
{
    bench b;
    set_up(context, &b);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        rig_say("%s, %s", kernel, wrong[i].name);
        expect_refusal(&b, wrong[i].spoil, wrong[i].status, wrong[i].says);
    }
    expect_untouched(&b);
    tear_down(&b);
}

Test(bindings, every_wrong_one_is_refused)
{
    rig_each_kernel(refuse_bindings);
}

/* A slot that the plan was made without. */
Test(bindings, a_slot_too_many)
{
    bench b;
    clattn_plan *plan;
    clattn_attention_desc desc;
    clattn_context *context = rig_open();
    set_up(context, &b);
    rig_describe(&b.problem, &desc);
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_LSE);
    cr_assert_eq(clattn_plan_attention(context, &desc, &plan), CLATTN_OK);
    b.stage.step.plan = plan;
    cr_assert_eq(clattn_submit(b.dispatcher, &b.stage.submission, NULL), CLATTN_ERR_ARGUMENT);
    cr_assert(strstr(clattn_error_message(), "WEIGHTS: is bound, but"), "%s",
              clattn_error_message());
    b.stage.step.binding_count--;
    rig_submit(b.dispatcher, &b.stage.submission);
    clattn_plan_destroy(plan);
    tear_down(&b);
    rig_close(context);
}

/* Outputs side by side without a gap are fine, and so are inputs that share everything. */
static void adjacent(clattn_context *context, const char *kernel)
{
    bench b;
    set_up(context, &b);
    const rig_shape *of = &b.problem.shape;
    const uint64_t rows = (uint64_t)(of->batch * of->n_head * of->n_q);
    rig_say("%s, side by side", kernel);
    binding_of(&b, CLATTN_SLOT_LSE)->buffer = b.large;
    binding_of(&b, CLATTN_SLOT_LSE)->offset = 0;
    binding_of(&b, CLATTN_SLOT_OUT)->buffer = b.large;
    binding_of(&b, CLATTN_SLOT_OUT)->offset = rows * sizeof(float);
    binding_of(&b, CLATTN_SLOT_V)->buffer = b.stage.buffer[CLATTN_SLOT_K];
    binding_of(&b, CLATTN_SLOT_V)->offset = binding_of(&b, CLATTN_SLOT_K)->offset;
    rig_submit(b.dispatcher, &b.stage.submission);
    tear_down(&b);
}

Test(bindings, what_only_touches_is_accepted)
{
    rig_each_kernel(adjacent);
}

Test(bindings, negative_strides_before_the_begin)
{
    static const rig_layout backwards = {.order = {0, 1, 2, 3}, .step = 1, .reversed = 4};
    const rig_shape shape = {1, 2, 2, 9, 9, 16, 16, CLATTN_ALIGN_NONE};
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher;
    cr_assert_eq(clattn_dispatcher_create(context, NULL, &dispatcher), CLATTN_OK);
    for (int slot = 0; slot <= CLATTN_SLOT_OUT; slot++) {
        rig_problem problem;
        rig_stage stage;
        rig_make(&problem, &shape, 0, &backwards);
        cr_assert_eq(rig_stage_make(context, &problem, &stage), CLATTN_OK);
        const uint64_t good = stage.binding[slot].offset;
        /* all rows but the first lie before the offset: 7 elements of margin are not enough */
        stage.binding[slot].offset = 8 * 16 * sizeof(float) - sizeof(float);
        cr_assert_eq(clattn_submit(dispatcher, &stage.submission, NULL), CLATTN_ERR_ARGUMENT);
        cr_assert(strstr(clattn_error_message(), "negative strides"), "%s", clattn_error_message());
        stage.binding[slot].offset += sizeof(float);
        rig_submit(dispatcher, &stage.submission);
        stage.binding[slot].offset = good;
        rig_submit(dispatcher, &stage.submission);
        rig_stage_free(&stage);
        rig_free(&problem);
    }
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}

Test(bindings, null_objects)
{
    clattn_submission submission;
    clattn_dispatcher *dispatcher;
    clattn_context *context = rig_open();
    cr_assert_eq(clattn_dispatcher_create(context, NULL, &dispatcher), CLATTN_OK);
    clattn_submission_init(&submission);
    cr_assert_eq(clattn_submit(NULL, &submission, NULL), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_submit(dispatcher, NULL, NULL), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_dispatcher_finish(NULL), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_event_wait(NULL, 0), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_event_poll(NULL), CLATTN_ERR_ARGUMENT);
    cr_assert_str_not_empty(clattn_event_message(NULL));
    clattn_event_release(NULL);
    clattn_dispatcher_destroy(NULL);
    clattn_plan_destroy(NULL);
    cr_assert_eq(clattn_buffer_destroy(NULL), CLATTN_OK);
    cr_assert_eq(clattn_context_destroy(NULL), CLATTN_OK);
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}
