/* See dispatch_rig.h. */
#include "dispatch_rig.h"

#include <dirent.h>
#include <time.h>

#include "failing_cl.h"

static float number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / (float)(1 << 23) - 1.0f;
}

static clattn_buffer *filled(clattn_context *context, size_t count, uint32_t seed)
{
    clattn_buffer *buffer = NULL;
    float *data = malloc(count * sizeof *data);
    cr_assert_not_null(data);
    for (size_t i = 0; i < count; i++)
        data[i] = number(&seed);
    cr_assert_eq(clattn_buffer_create(context, count * sizeof *data, &buffer), CLATTN_OK);
    cr_assert_eq(clattn_buffer_write(buffer, 0, data, count * sizeof *data), CLATTN_OK);
    free(data);
    return buffer;
}

int32_t length_of(int head)
{
    static const int32_t lengths[] = {1, 700, 2, 511, 512, 513, 17, 699, 64, 0, 333};
    return lengths[head % 11];
}

void open_heads(heads *h, const clattn_context_options *options)
{
    memset(h, 0, sizeof *h);
    cr_assert_eq(clattn_context_create(options, &h->context), CLATTN_OK, "%s",
                 clattn_error_message());
    for (int i = 0; i < 3; i++) {
        clattn_attention_desc desc;
        clattn_attention_desc_init(&desc);
        desc.batch = desc.n_head = desc.n_kv_head = desc.n_q = 1;
        desc.n_kv = KEYS;
        desc.head_dim = desc.value_dim = DIM;
        desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);
        desc.has_scale = 1;
        desc.scale = 0.25f + 0.5f * (float)i;
        if (i == 2) {
            desc.has_window = 1;
            desc.window_left = 100;
            desc.window_right = -1;
            desc.align = CLATTN_ALIGN_BOTTOM_RIGHT;
        }
        cr_assert_eq(clattn_plan_attention(h->context, &desc, &h->plan[i]), CLATTN_OK, "%s",
                     clattn_error_message());
    }
    h->q = filled(h->context, HEADS * DIM, 1);
    h->k = filled(h->context, (size_t)HEADS * KEYS * DIM, 2);
    h->v = filled(h->context, (size_t)HEADS * KEYS * DIM, 3);
    h->out = filled(h->context, HEADS * DIM, 4);
}

void close_heads(heads *h)
{
    free(h->expected);
    cr_assert_eq(clattn_buffer_destroy(h->q), CLATTN_OK);
    cr_assert_eq(clattn_buffer_destroy(h->k), CLATTN_OK);
    cr_assert_eq(clattn_buffer_destroy(h->v), CLATTN_OK);
    cr_assert_eq(clattn_buffer_destroy(h->out), CLATTN_OK);
    for (int i = 0; i < 3; i++)
        clattn_plan_destroy(h->plan[i]);
    cr_assert_eq(clattn_context_destroy(h->context), CLATTN_OK, "%s", clattn_error_message());
}

clattn_step step_of(const heads *h, int head, head_step *of)
{
    const uint64_t rows = (uint64_t)head * DIM * sizeof(float), keys = rows * KEYS;
    of->length = length_of(head);
    const clattn_binding bindings[5] = {
        {.slot = CLATTN_SLOT_Q, .buffer = h->q, .offset = rows},
        {.slot = CLATTN_SLOT_K, .buffer = h->k, .offset = keys},
        {.slot = CLATTN_SLOT_V, .buffer = h->v, .offset = keys},
        {.slot = CLATTN_SLOT_OUT, .buffer = h->out, .offset = rows},
        {.slot = CLATTN_SLOT_KV_LENGTHS, .host = &of->length},
    };
    memcpy(of->bindings, bindings, sizeof bindings);
    return (clattn_step){.plan = h->plan[head % 3],
                         .bindings = of->bindings,
                         .binding_count = 5,
                         .sequences = &of->sequence};
}

clattn_dispatcher *open_dispatcher(const heads *h, const clattn_dispatcher_options *options)
{
    clattn_dispatcher *dispatcher = NULL;
    cr_assert_eq(clattn_dispatcher_create(h->context, options, &dispatcher), CLATTN_OK, "%s",
                 clattn_error_message());
    return dispatcher;
}

clattn_event *submit_head(const heads *h, clattn_dispatcher *dispatcher, int head,
                          const clattn_submission *like, uint64_t sequence)
{
    head_step of;
    of.sequence = sequence;
    clattn_event *event = NULL;
    const clattn_step step = step_of(h, head, &of);
    clattn_submission submission;
    clattn_submission_init(&submission);
    if (like)
        submission = *like;
    submission.steps = &step;
    submission.step_count = 1;
    cr_assert_eq(clattn_submit(dispatcher, &submission, &event), CLATTN_OK, "%s",
                 clattn_error_message());
    return event;
}

clattn_dispatcher_statistics statistics_of(clattn_dispatcher *dispatcher)
{
    clattn_dispatcher_statistics made = {.struct_size = sizeof made};
    cr_assert_eq(clattn_dispatcher_get_statistics(dispatcher, &made), CLATTN_OK);
    return made;
}

void forget_outputs(const heads *h)
{
    float nothing[HEADS * DIM];
    memset(nothing, 0xff, sizeof nothing);
    cr_assert_eq(clattn_buffer_write(h->out, 0, nothing, sizeof nothing), CLATTN_OK);
}

/* Every head alone, one after the other. */
void expect_heads(heads *h)
{
    clattn_dispatcher *dispatcher = open_dispatcher(h, NULL);
    forget_outputs(h);
    for (int head = 0; head < HEADS; head++) {
        clattn_event *event = submit_head(h, dispatcher, head, NULL, 0);
        cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_OK);
        clattn_event_release(event);
    }
    h->expected = malloc(sizeof(float) * HEADS * DIM);
    cr_assert_not_null(h->expected);
    cr_assert_eq(clattn_buffer_read(h->out, 0, h->expected, sizeof(float) * HEADS * DIM),
                 CLATTN_OK);
    for (int i = 0; i < HEADS * DIM; i++)
        cr_assert(h->expected[i] == h->expected[i], "a result is missing");
    clattn_dispatcher_destroy(dispatcher);
}

void check_heads(const heads *h)
{
    float found[HEADS * DIM];
    cr_assert_eq(clattn_buffer_read(h->out, 0, found, sizeof found), CLATTN_OK);
    for (int head = 0; head < HEADS; head++)
        cr_assert_eq(memcmp(found + head * DIM, h->expected + head * DIM, DIM * sizeof(float)), 0,
                     "head %d differs from what it is alone", head);
}

void block_in(heads *h, clattn_dispatcher *dispatcher, blocker *b, int64_t length,
              const clattn_submission *like, uint64_t sequence)
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = desc.n_kv_head = 4;
    desc.n_q = desc.n_kv = length;
    desc.head_dim = desc.value_dim = 64;
    const uint64_t size = 4 * 64 * (uint64_t)length * sizeof(float);
    cr_assert_eq(clattn_plan_attention(h->context, &desc, &b->plan), CLATTN_OK);
    if (!b->memory)
        b->memory = filled(h->context, (size_t)size, 5); /* four tensors */
    clattn_binding bindings[4];
    for (int i = 0; i < 4; i++)
        bindings[i] = (clattn_binding){
            .slot = (clattn_slot)i, .buffer = b->memory, .offset = size * (uint64_t)i};
    const clattn_step step = {
        .plan = b->plan, .bindings = bindings, .binding_count = 4, .sequences = &sequence};
    clattn_submission submission;
    clattn_submission_init(&submission);
    if (like)
        submission = *like;
    submission.steps = &step;
    submission.step_count = 1;
    cr_assert_eq(clattn_submit(dispatcher, &submission, &b->event), CLATTN_OK);
}

void block(heads *h, clattn_dispatcher *dispatcher, blocker *b, int64_t length)
{
    block_in(h, dispatcher, b, length, NULL, 0);
}

void unblock(blocker *b)
{
    cr_assert_eq(clattn_event_wait(b->event, UINT64_MAX), CLATTN_OK);
    clattn_event_release(b->event);
    clattn_plan_destroy(b->plan);
    cr_assert_eq(clattn_buffer_destroy(b->memory), CLATTN_OK);
}

bool divides(clattn_context_options *options, uint32_t parts)
{
    clattn_context *probe = NULL;
    options->parts = parts;
    const clattn_status status = clattn_context_create(options, &probe);
    if (status == CLATTN_ERR_UNSUPPORTED)
        return false;
    cr_assert_eq(status, CLATTN_OK, "%s", clattn_error_message());
    cr_assert_eq(clattn_context_destroy(probe), CLATTN_OK);
    return true;
}

bool open_parts(heads *h, uint32_t parts)
{
    clattn_context_options options;
    failing_cl_options(&options);
    if (!divides(&options, parts))
        return false;
    open_heads(h, &options);
    expect_heads(h);
    forget_outputs(h);
    return true;
}

uint32_t lane_in_flight(clattn_dispatcher *dispatcher)
{
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    return made.lane[0].in_flight ? 0 : 1;
}

uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int threads_of_process(void)
{
    DIR *open = opendir("/proc/self/task");
    int count = 0;
    if (!open)
        return 0;
    while (readdir(open))
        count++;
    closedir(open);
    return count;
}
