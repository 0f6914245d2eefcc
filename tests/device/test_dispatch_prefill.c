/* Prompts of many sequences share launches: short ones that pack their keys themselves, longer ones
 * that are packed before, with values that are read where they are and values that are packed.
 * Results have the bits that they have alone. */
#include "dispatch_rig.h"

enum { PROMPTS = 24, MOST = 600, QUERY_HEADS = 4, KV_HEADS = 2, WIDE = 64, KINDS = 6 };

/* 42 is a multiple of no vector, so that values are packed. */
static const struct {
    int64_t length, past, value_dim, window;
} kinds[KINDS] = {{64, 0, 64, 0},  {64, 0, 42, 0},   {17, 100, 64, 0},
                  {64, 0, 64, 20}, {300, 0, 42, 33}, {MOST, 0, 64, 0}};

typedef struct prompts {
    clattn_context *context;
    clattn_plan *plan[KINDS];
    clattn_buffer *tensor[4]; /* q, k, v, out: (PROMPTS, heads, MOST, WIDE) */
    float *alone;             /* of out */
} prompts;

static uint64_t size_of(int slot)
{
    const uint64_t count = slot == CLATTN_SLOT_K || slot == CLATTN_SLOT_V ? KV_HEADS : QUERY_HEADS;
    return count * MOST * WIDE * sizeof(float);
}

static clattn_plan *plan_of(clattn_context *context, int kind)
{
    clattn_plan *plan = NULL;
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = QUERY_HEADS;
    desc.n_kv_head = KV_HEADS;
    desc.n_q = kinds[kind].length;
    desc.n_kv = kinds[kind].length + kinds[kind].past;
    desc.head_dim = WIDE;
    desc.value_dim = kinds[kind].value_dim;
    desc.causal = 1;
    desc.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    if (kinds[kind].window) {
        desc.has_window = 1;
        desc.window_left = kinds[kind].window;
        desc.window_right = -1;
    }
    cr_assert_eq(clattn_plan_attention(context, &desc, &plan), CLATTN_OK, "%s",
                 clattn_error_message());
    return plan;
}

static void forget(const prompts *p)
{
    void *nothing = malloc(PROMPTS * size_of(CLATTN_SLOT_OUT));
    cr_assert_not_null(nothing);
    memset(nothing, 0xff, PROMPTS * size_of(CLATTN_SLOT_OUT));
    cr_assert_eq(clattn_buffer_write(p->tensor[CLATTN_SLOT_OUT], 0, nothing,
                                     PROMPTS * size_of(CLATTN_SLOT_OUT)),
                 CLATTN_OK);
    free(nothing);
}

static void open_prompts(prompts *p)
{
    uint32_t state = 7;
    memset(p, 0, sizeof *p);
    cr_assert_eq(clattn_context_create(NULL, &p->context), CLATTN_OK, "%s", clattn_error_message());
    for (int kind = 0; kind < KINDS; kind++)
        p->plan[kind] = plan_of(p->context, kind);
    for (int slot = 0; slot < 4; slot++) {
        const uint64_t size = PROMPTS * size_of(slot);
        float *data = malloc(size);
        cr_assert_not_null(data);
        for (uint64_t i = 0; i < size / sizeof *data; i++) {
            state = state * 1664525u + 1013904223u;
            data[i] = (float)(state >> 8) / (float)(1 << 23) - 1.0f;
        }
        cr_assert_eq(clattn_buffer_create(p->context, size, &p->tensor[slot]), CLATTN_OK);
        cr_assert_eq(clattn_buffer_write(p->tensor[slot], 0, data, size), CLATTN_OK);
        free(data);
    }
    p->alone = malloc(PROMPTS * size_of(CLATTN_SLOT_OUT));
    cr_assert_not_null(p->alone);
}

static void close_prompts(prompts *p)
{
    for (int kind = 0; kind < KINDS; kind++)
        clattn_plan_destroy(p->plan[kind]);
    for (int slot = 0; slot < 4; slot++)
        cr_assert_eq(clattn_buffer_destroy(p->tensor[slot]), CLATTN_OK);
    free(p->alone);
    cr_assert_eq(clattn_context_destroy(p->context), CLATTN_OK, "%s", clattn_error_message());
}

/* The step of a prompt; bindings and sequence are the caller's memory. */
static clattn_step prompt_at(const prompts *p, int prompt, int kind, clattn_binding bindings[4],
                             uint64_t *sequence)
{
    *sequence = 1 + (uint64_t)prompt;
    for (int slot = 0; slot < 4; slot++)
        bindings[slot] = (clattn_binding){.slot = (clattn_slot)slot,
                                          .buffer = p->tensor[slot],
                                          .offset = (uint64_t)prompt * size_of(slot)};
    return (clattn_step){
        .plan = p->plan[kind], .bindings = bindings, .binding_count = 4, .sequences = sequence};
}

/* Each prompt in a submission of its own; `each`: and the next one is submitted when it is done. */
static void submit_prompts(const prompts *p, clattn_dispatcher *dispatcher, int kinds_used,
                           bool each)
{
    for (int i = 0; i < PROMPTS; i++) {
        clattn_binding bindings[4];
        uint64_t sequence;
        const clattn_step step = prompt_at(p, i, i % kinds_used, bindings, &sequence);
        clattn_submission submission;
        clattn_submission_init(&submission);
        submission.steps = &step;
        submission.step_count = 1;
        cr_assert_eq(clattn_submit(dispatcher, &submission, NULL), CLATTN_OK, "%s",
                     clattn_error_message());
        if (each)
            cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
    }
    cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
}

static void expect_alone(prompts *p, int kinds_used)
{
    clattn_dispatcher *dispatcher = NULL;
    clattn_dispatcher_options options;
    clattn_dispatcher_options_init(&options);
    options.direct = 1;
    cr_assert_eq(clattn_dispatcher_create(p->context, &options, &dispatcher), CLATTN_OK);
    forget(p);
    submit_prompts(p, dispatcher, kinds_used, true);
    cr_assert_eq(clattn_buffer_read(p->tensor[CLATTN_SLOT_OUT], 0, p->alone,
                                    PROMPTS * size_of(CLATTN_SLOT_OUT)),
                 CLATTN_OK);
    clattn_dispatcher_destroy(dispatcher);
    forget(p);
}

static void check_prompts(const prompts *p)
{
    const uint64_t size = size_of(CLATTN_SLOT_OUT);
    unsigned char *found = malloc(PROMPTS * size);
    cr_assert_not_null(found);
    cr_assert_eq(clattn_buffer_read(p->tensor[CLATTN_SLOT_OUT], 0, found, PROMPTS * size),
                 CLATTN_OK);
    for (uint64_t i = 0; i < PROMPTS; i++)
        cr_assert_eq(memcmp(found + i * size, (unsigned char *)p->alone + i * size, size), 0,
                     "prompt %d differs from what it is alone", (int)i);
    free(found);
}

/* Steps of one submission, of all kinds. */
Test(dispatch_prefill, steps_of_a_submission)
{
    prompts p;
    clattn_binding bindings[PROMPTS][4];
    uint64_t sequences[PROMPTS];
    clattn_step steps[PROMPTS];
    clattn_submission submission;
    clattn_dispatcher *dispatcher = NULL;
    open_prompts(&p);
    expect_alone(&p, KINDS);
    cr_assert_eq(clattn_dispatcher_create(p.context, NULL, &dispatcher), CLATTN_OK);
    for (int i = 0; i < PROMPTS; i++)
        steps[i] = prompt_at(&p, i, i % KINDS, bindings[i], &sequences[i]);
    clattn_submission_init(&submission);
    submission.steps = steps;
    submission.step_count = PROMPTS;
    for (int time = 0; time < 2; time++) {
        cr_assert_eq(clattn_submit(dispatcher, &submission, NULL), CLATTN_OK, "%s",
                     clattn_error_message());
        cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
        check_prompts(&p);
        forget(&p);
    }
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    cr_assert_eq(made.lane[0].shared, 2 * PROMPTS);
    cr_assert(made.lane[0].launches < PROMPTS, "%d launches", (int)made.lane[0].launches);
    clattn_dispatcher_destroy(dispatcher);
    close_prompts(&p);
}

/* Prompts of many sequences that wait for a lane: few launches are made of them. */
static void wait_together(int kinds_used)
{
    prompts p;
    heads h = {0};
    blocker b[2] = {{0}};
    clattn_dispatcher *dispatcher = NULL;
    clattn_dispatcher_options options;
    clattn_dispatcher_options_init(&options);
    options.launch_ns = UINT64_MAX; /* no bound: all that wait go together */
    open_prompts(&p);
    expect_alone(&p, kinds_used);
    cr_assert_eq(clattn_dispatcher_create(p.context, &options, &dispatcher), CLATTN_OK);
    h.context = p.context;
    for (int i = 0; i < 2; i++) /* as many as are in flight at most */
        block(&h, dispatcher, &b[i], 1500);
    submit_prompts(&p, dispatcher, kinds_used, false);
    check_prompts(&p);
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    cr_assert(made.lane[0].shared >= PROMPTS / 2, "%d shared", (int)made.lane[0].shared);
    for (int i = 0; i < 2; i++)
        unblock(&b[i]);
    clattn_dispatcher_destroy(dispatcher);
    close_prompts(&p);
}

Test(dispatch_prefill, sequences_that_wait)
{
    wait_together(1);
}

Test(dispatch_prefill, sequences_of_all_kinds_that_wait)
{
    wait_together(KINDS);
}
