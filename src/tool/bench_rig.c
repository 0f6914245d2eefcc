/* See bench_rig.h. */
#include "tool/bench_rig.h"

#include <string.h>
#include <time.h>

enum { DIM = BENCH_RIG_DIM };

static double seconds_of(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

double bench_now(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double bench_thread_now(void)
{
    return seconds_of(CLOCK_THREAD_CPUTIME_ID);
}

clattn_status bench_rig_plan(clattn_context *context, const bench_extents *of, int64_t batch,
                             clattn_plan **plan)
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = batch;
    desc.n_head = of->heads;
    desc.n_kv_head = of->kv_heads;
    desc.n_q = of->n_q;
    desc.n_kv = of->n_kv;
    desc.head_dim = desc.value_dim = DIM;
    desc.causal = of->n_q > 1;
    desc.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);
    return clattn_plan_attention(context, &desc, plan);
}

clattn_status bench_rig_init(bench_rig *rig, clattn_context *context, bench_extents of,
                             uint32_t pieces)
{
    void *data;
    *rig = (bench_rig){.context = context,
                       .query = (uint64_t)(of.heads * of.n_q) * DIM * sizeof(float),
                       .keys = (uint64_t)(of.kv_heads * of.n_kv) * DIM * sizeof(float),
                       .pieces = pieces};
    const uint64_t size = 2 * (rig->query + rig->keys) * pieces;
    clattn_status status = bench_rig_plan(context, &of, 1, &rig->plan);
    if (status == CLATTN_OK)
        status = clattn_buffer_create(context, size, &rig->memory);
    if (status == CLATTN_OK)
        status = clattn_buffer_map(rig->memory, &data);
    if (status != CLATTN_OK)
        return status;
    for (uint64_t i = 0; i < size / sizeof(float); i++)
        ((float *)data)[i] = (float)(i * 2654435761u % 1024) / 512 - 1;
    return clattn_buffer_unmap(rig->memory);
}

void bench_rig_finish(bench_rig *rig)
{
    clattn_buffer_destroy(rig->memory);
    clattn_plan_destroy(rig->plan);
    *rig = (bench_rig){0};
}

void bench_rig_piece(const bench_rig *rig, uint32_t index, int32_t length, uint64_t sequence,
                     bench_piece *piece)
{
    const uint64_t at = 2 * (rig->query + rig->keys) * (index % rig->pieces);
    const uint64_t offsets[4] = {at, at + rig->query, at + rig->query + rig->keys,
                                 at + rig->query + 2 * rig->keys};
    memset(piece, 0, sizeof *piece);
    piece->length = length;
    piece->sequence = sequence;
    for (int slot = 0; slot < 4; slot++)
        piece->bindings[slot] = (clattn_binding){
            .slot = (clattn_slot)slot, .buffer = rig->memory, .offset = offsets[slot]};
    piece->bindings[4] = (clattn_binding){.slot = CLATTN_SLOT_KV_LENGTHS, .host = &piece->length};
    piece->step = (clattn_step){.plan = rig->plan,
                                .bindings = piece->bindings,
                                .binding_count = 5,
                                .sequences = &piece->sequence};
}

clattn_status bench_rig_submit(clattn_dispatcher *dispatcher, const bench_piece *piece,
                               int32_t priority, clattn_event **event)
{
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = &piece->step;
    submission.step_count = 1;
    submission.priority = priority;
    submission.busy_ns = UINT64_MAX;
    return clattn_submit(dispatcher, &submission, event);
}
