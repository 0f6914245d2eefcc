/* The long way: one plan and buffers on the device, submitted step after step. Keys and values are
 * appended one by one, as when a model writes a text; each step's query sees those that are there.
 * Queries are 0 here, so that every key counts the same and a step's output is the mean so far. */
#include <stdio.h>

#include <clattn/clattn.h>

enum { DIM = 4, STEPS = 4, TENSORS = 4 };

/* What exists while the steps run. Q, K, V and OUT are slots 0 to 3. */
typedef struct decoder {
    clattn_context *context;
    clattn_plan *plan;
    clattn_dispatcher *dispatcher;
    clattn_buffer *buffer[TENSORS];
} decoder;

/* Returns from the function with what a call returned, unless it is CLATTN_OK. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        const clattn_status status = (call);                                                       \
        if (status != CLATTN_OK)                                                                   \
            return status;                                                                         \
    } while (0)

static clattn_status set_up(decoder *d)
{
    static const uint64_t rows[TENSORS] = {1, STEPS, STEPS, 1};
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.n_q = 1;
    desc.n_kv = STEPS; /* the most there will be */
    desc.head_dim = desc.value_dim = DIM;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);
    TRY(clattn_context_create(NULL, &d->context));
    TRY(clattn_plan_attention(d->context, &desc, &d->plan));
    TRY(clattn_dispatcher_create(d->context, NULL, &d->dispatcher));
    for (int i = 0; i < TENSORS; i++)
        TRY(clattn_buffer_create(d->context, rows[i] * DIM * sizeof(float), &d->buffer[i]));
    return CLATTN_OK;
}

/* Appends a key and a value, and attends to all so far. */
static clattn_status run_step(decoder *d, int32_t step, float out[DIM])
{
    const float query[DIM] = {0}, key[DIM] = {1}, value[DIM] = {(float)step, 10, 0, -1};
    const uint64_t row = (uint64_t)step * sizeof key;
    const int32_t length = step + 1; /* copied by clattn_submit */
    clattn_binding bindings[TENSORS + 1] = {{.slot = CLATTN_SLOT_KV_LENGTHS, .host = &length}};
    for (int i = 0; i < TENSORS; i++)
        bindings[i + 1] = (clattn_binding){.slot = (clattn_slot)i, .buffer = d->buffer[i]};
    const clattn_step work = {.plan = d->plan, .bindings = bindings, .binding_count = TENSORS + 1};
    clattn_submission submission;
    clattn_event *event;
    clattn_submission_init(&submission);
    submission.steps = &work;
    submission.step_count = 1;
    TRY(clattn_buffer_write(d->buffer[CLATTN_SLOT_Q], 0, query, sizeof query));
    TRY(clattn_buffer_write(d->buffer[CLATTN_SLOT_K], row, key, sizeof key));
    TRY(clattn_buffer_write(d->buffer[CLATTN_SLOT_V], row, value, sizeof value));
    TRY(clattn_submit(d->dispatcher, &submission, &event)); /* returns at once */
    const clattn_status done = clattn_event_wait(event, UINT64_MAX);
    clattn_event_release(event);
    TRY(done);
    return clattn_buffer_read(d->buffer[CLATTN_SLOT_OUT], 0, out, DIM * sizeof *out);
}

static clattn_status run(decoder *d)
{
    float out[DIM];
    TRY(set_up(d));
    for (int32_t step = 0; step < STEPS; step++) {
        TRY(run_step(d, step, out));
        printf("%.2f %.2f %.2f %.2f\n", out[0], out[1], out[2], out[3]);
    }
    return CLATTN_OK;
}

int main(void)
{
    decoder d = {0};
    const clattn_status status = run(&d);
    if (status != CLATTN_OK)
        fprintf(stderr, "%s: %s\n", clattn_status_string(status), clattn_error_message());
    clattn_dispatcher_destroy(d.dispatcher);
    for (int i = 0; i < TENSORS; i++)
        (void)clattn_buffer_destroy(d.buffer[i]);
    clattn_plan_destroy(d.plan);
    (void)clattn_context_destroy(d.context);
    return status != CLATTN_OK;
}
