/* What submitting and planning cost the host, beside what OpenCL's own calls take of it. */
#include <string.h>

#include "tool/bench_median.h"
#include "tool/bench_raw.h"
#include "tool/bench_rig.h"
#include "tool/bench_rows.h"

/* ---- submit ---------------------------------------------------------------------------------- */

/* Medians of what OpenCL took of submitting, and of that and the rest, each of a submission. */
static clattn_status time_submits(clattn_dispatcher *dispatcher, const bench_piece *piece,
                                  double seconds, bench_row *row)
{
    enum { MOST = 4000 };
    static double own[MOST], raw[MOST]; /* the tool has one thread here */
    const double end = bench_now() + seconds;
    size_t count = 0;
    while (count < MOST && (count < 50 || bench_now() < end)) {
        clattn_event *event;
        double timing;
        bench_raw_take(&timing);
        const double start = bench_now();
        clattn_status status = bench_rig_submit(dispatcher, piece, 0, &event);
        const double whole = bench_now() - start;
        raw[count] = bench_raw_take(&timing);
        own[count] = whole - timing - raw[count];
        count++;
        if (status == CLATTN_OK) {
            status = clattn_event_wait(event, UINT64_MAX);
            clattn_event_release(event);
        }
        if (status != CLATTN_OK)
            return status;
    }
    row->figure[1].value = bench_median(raw, count);
    row->figure[0].value = row->figure[1].value + bench_median(own, count);
    return CLATTN_OK;
}

clattn_status bench_row_submit(const bench_dispatcher_run *run, bench_row *row)
{
    clattn_context *context = NULL;
    clattn_dispatcher *dispatcher = NULL;
    bench_rig rig = {0};
    bench_piece piece;
    *row = (bench_row){.name = "submit", .figure = {{"seconds", 0}, {"raw_seconds", 0}}};
    clattn_status status = bench_row_context(run, 0, true, &context);
    if (status == CLATTN_OK)
        status = bench_rig_init(&rig, context, (bench_extents){8, 8, 96, 96}, 1);
    if (status == CLATTN_OK)
        status = bench_row_dispatcher(context, 0, false, &dispatcher);
    if (status == CLATTN_OK) {
        bench_rig_piece(&rig, 0, 96, 0, &piece);
        status = time_submits(dispatcher, &piece, run->seconds, row);
    }
    clattn_dispatcher_destroy(dispatcher);
    bench_rig_finish(&rig);
    clattn_context_destroy(context);
    return status;
}

/* ---- end to end ------------------------------------------------------------------------------ */

/* Submitting and waiting, against the same kernel enqueued and waited for; medians. */
static clattn_status time_round_trips(clattn_dispatcher *dispatcher, const bench_piece *piece,
                                      double seconds, bench_row *row)
{
    enum { MOST = 2000 };
    static double whole[MOST], raw[MOST]; /* the tool has one thread here */
    const double end = bench_now() + seconds;
    size_t count = 0;
    bench_raw_launches();
    while (count < MOST && (count < 50 || bench_now() < end)) {
        clattn_event *event;
        const double start = bench_now();
        clattn_status status = bench_rig_submit(dispatcher, piece, 0, &event);
        if (status != CLATTN_OK)
            return status;
        status = clattn_event_wait(event, UINT64_MAX);
        whole[count] = bench_now() - start;
        clattn_event_release(event);
        raw[count] = bench_raw_again();
        if (status != CLATTN_OK || raw[count] < 0)
            return status != CLATTN_OK ? status : CLATTN_ERR_OPENCL;
        count++;
    }
    row->figure[2].value = (double)bench_raw_launches() / (double)count;
    row->figure[0].value = bench_median(whole, count);
    row->figure[1].value = bench_median(raw, count);
    return CLATTN_OK;
}

/* With as many heads as make about 100 us of work, which is one launch. */
clattn_status bench_row_end_to_end(const bench_dispatcher_run *run, bench_row *row)
{
    clattn_context *context = NULL;
    clattn_dispatcher *dispatcher = NULL;
    *row = (bench_row){.name = "end_to_end",
                       .figure = {{"seconds", 0}, {"raw_seconds", 0}, {"launches", 0}}};
    clattn_status status = bench_row_context(run, 0, true, &context);
    if (status == CLATTN_OK)
        status = bench_row_dispatcher(context, 0, false, &dispatcher);
    for (int64_t heads = 1; status == CLATTN_OK && heads <= 64; heads *= 2) {
        bench_rig rig = {0};
        bench_piece piece;
        status = bench_rig_init(&rig, context, (bench_extents){heads, heads, 64, 64}, 1);
        if (status == CLATTN_OK) {
            bench_rig_piece(&rig, 0, 64, 0, &piece);
            status = time_round_trips(dispatcher, &piece, run->seconds / 4, row);
        }
        bench_rig_finish(&rig);
        if (row->figure[1].value >= 90e-6)
            break;
    }
    clattn_dispatcher_destroy(dispatcher);
    clattn_context_destroy(context);
    return status;
}

/* ---- planning again -------------------------------------------------------------------------- */

/* What a server does for each shape: the program is there already. Medians. */
static clattn_status time_plans(const bench_dispatcher_run *run, const bench_extents *extents,
                                bench_row *row)
{
    enum { MOST = 4000 };
    static double seconds[MOST]; /* the tool has one thread here */
    const double end = bench_now() + run->seconds;
    size_t count = 0;
    while (count < MOST && (count < 50 || bench_now() < end)) {
        clattn_plan *plan = NULL;
        const double start = bench_now();
        const clattn_status status = bench_rig_plan(run->context, extents, 1, &plan);
        seconds[count++] = bench_now() - start;
        clattn_plan_destroy(plan);
        if (status != CLATTN_OK)
            return status;
    }
    row->figure[0].value = bench_median(seconds, count);
    return CLATTN_OK;
}

clattn_status bench_row_plan(const bench_dispatcher_run *run, bench_row *row)
{
    const bench_extents extents = {8, 8, 96, 96};
    clattn_plan *first = NULL; /* keeps the program */
    *row = (bench_row){.name = "plan", .figure = {{"seconds", 0}}};
    clattn_status status = bench_rig_plan(run->context, &extents, 1, &first);
    if (status == CLATTN_OK)
        status = time_plans(run, &extents, row);
    clattn_plan_destroy(first);
    return status;
}

/* ---- many sequences in one submission -------------------------------------------------------- */

enum { SEQUENCES = 64, SEQUENCE_HEADS = 32, SEQUENCE_KEYS = 16 };

/* Decode steps of all sequences in one step, whose memory and arrays are the caller's. */
typedef struct many {
    clattn_plan *plan;
    clattn_buffer *memory; /* all slots are at its beginning: what is computed doesn't matter */
    clattn_buffer *out;
    int32_t length[SEQUENCES];
    uint64_t sequence[SEQUENCES];
    clattn_binding bindings[5];
} many;

static clattn_status open_many(clattn_context *context, int64_t sequences, many *m)
{
    const bench_extents extents = {SEQUENCE_HEADS, SEQUENCE_HEADS, 1, SEQUENCE_KEYS};
    const uint64_t rows = (uint64_t)sequences * SEQUENCE_HEADS,
                   size = rows * SEQUENCE_KEYS * BENCH_RIG_DIM * sizeof(float);
    void *data;
    *m = (many){.plan = NULL};
    clattn_status status = bench_rig_plan(context, &extents, sequences, &m->plan);
    if (status == CLATTN_OK)
        status = clattn_buffer_create(context, size, &m->memory);
    if (status == CLATTN_OK)
        status = clattn_buffer_create(context, size / SEQUENCE_KEYS, &m->out);
    if (status == CLATTN_OK)
        status = clattn_buffer_map(m->memory, &data);
    if (status != CLATTN_OK)
        return status;
    memset(data, 0, size);
    for (int i = 0; i < SEQUENCES; i++) {
        m->length[i] = SEQUENCE_KEYS;
        m->sequence[i] = 1 + (uint64_t)i;
    }
    for (int slot = 0; slot < 4; slot++)
        m->bindings[slot] = (clattn_binding){
            .slot = (clattn_slot)slot, .buffer = slot == CLATTN_SLOT_OUT ? m->out : m->memory};
    m->bindings[4] = (clattn_binding){.slot = CLATTN_SLOT_KV_LENGTHS, .host = m->length};
    return clattn_buffer_unmap(m->memory);
}

static void close_many(many *m)
{
    clattn_plan_destroy(m->plan);
    clattn_buffer_destroy(m->memory);
    clattn_buffer_destroy(m->out);
}

static clattn_status submit_many(clattn_dispatcher *dispatcher, const many *m, double *seconds)
{
    clattn_submission submission;
    const clattn_step step = {
        .plan = m->plan, .bindings = m->bindings, .binding_count = 5, .sequences = m->sequence};
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    const double start = bench_thread_now();
    const clattn_status status = clattn_submit(dispatcher, &submission, NULL);
    *seconds = bench_thread_now() - start;
    return status == CLATTN_OK ? clattn_dispatcher_finish(dispatcher) : status;
}

/* Submitting 64 sequences of 32 heads, and one; medians. Processor time: the longer one's launch
 * takes all cores of a CPU device before the call is back. */
static clattn_status time_many(const bench_dispatcher_run *run, clattn_dispatcher *dispatcher,
                               const many *all, const many *one, bench_row *row)
{
    enum { MOST = 2000 };
    static double seconds[2][MOST]; /* the tool has one thread here */
    const double end = bench_now() + run->seconds;
    size_t count = 0;
    while (count < MOST && (count < 50 || bench_now() < end)) {
        clattn_status status = submit_many(dispatcher, all, &seconds[0][count]);
        if (status == CLATTN_OK)
            status = submit_many(dispatcher, one, &seconds[1][count]);
        if (status != CLATTN_OK)
            return status;
        count++;
    }
    row->figure[0].value = bench_median(seconds[0], count);
    row->figure[1].value = bench_median(seconds[1], count);
    return CLATTN_OK;
}

clattn_status bench_row_batch(const bench_dispatcher_run *run, bench_row *row)
{
    clattn_dispatcher *dispatcher = NULL;
    many all, one;
    *row = (bench_row){.name = "batch", .figure = {{"seconds", 0}, {"seconds_one_sequence", 0}}};
    clattn_status status = open_many(run->context, SEQUENCES, &all);
    const clattn_status opened = open_many(run->context, 1, &one);
    status = status == CLATTN_OK ? opened : status;
    if (status == CLATTN_OK)
        status = bench_row_dispatcher(run->context, 0, false, &dispatcher);
    if (status == CLATTN_OK)
        status = time_many(run, dispatcher, &all, &one, row);
    clattn_dispatcher_destroy(dispatcher);
    close_many(&one);
    close_many(&all);
    return status;
}
