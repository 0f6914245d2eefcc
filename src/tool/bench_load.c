/* What sharing launches gains: heads of many lengths in one submission, and a load as a server has
 * it. */
#include <math.h>

#include "tool/bench_rows.h"
#include "tool/bench_serving.h"

enum { MIXED = 32, LONGEST = 4096 };

/* ---- mixed lengths --------------------------------------------------------------------------- */

static clattn_status run_together(clattn_dispatcher *dispatcher, const clattn_step *steps,
                                  double *seconds)
{
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = steps;
    submission.step_count = MIXED;
    const double start = bench_now();
    clattn_status status = clattn_submit(dispatcher, &submission, NULL);
    if (status == CLATTN_OK)
        status = clattn_dispatcher_finish(dispatcher);
    *seconds = fmin(*seconds, bench_now() - start);
    return status;
}

static clattn_status run_each(clattn_dispatcher *dispatcher, const bench_piece *pieces,
                              double *seconds)
{
    const double start = bench_now();
    for (int i = 0; i < MIXED; i++) {
        const clattn_status status = bench_rig_submit(dispatcher, &pieces[i], 0, NULL);
        if (status != CLATTN_OK)
            return status;
    }
    const clattn_status status = clattn_dispatcher_finish(dispatcher);
    *seconds = fmin(*seconds, bench_now() - start);
    return status;
}

static clattn_status time_mixed(const bench_dispatcher_run *run, clattn_dispatcher *together,
                                clattn_dispatcher *naive, const bench_rig *rig, bench_row *row)
{
    bench_piece pieces[MIXED];
    clattn_step steps[MIXED];
    clattn_dispatcher_statistics made = {.struct_size = sizeof made};
    clattn_status status = CLATTN_OK;
    double best = 1e300, each = 1e300;
    uint64_t runs = 0;
    for (int i = 0; i < MIXED; i++) { /* 1 to 4096, as geometrically as whole numbers are */
        const double length = pow(LONGEST, i / (MIXED - 1.0));
        bench_rig_piece(rig, (uint32_t)i, (int32_t)lround(length), 1 + (uint64_t)i, &pieces[i]);
        steps[i] = pieces[i].step;
        steps[i].bindings = pieces[i].bindings;
    }
    const double end = bench_now() + run->seconds;
    while (status == CLATTN_OK && (runs < 5 || bench_now() < end)) {
        status = run_together(together, steps, &best);
        if (status == CLATTN_OK)
            status = run_each(naive, pieces, &each);
        runs++;
    }
    if (status == CLATTN_OK)
        status = clattn_dispatcher_get_statistics(together, &made);
    *row = (bench_row){
        .name = "mixed_lengths",
        .figure = {{"seconds", best},
                   {"seconds_one_launch_a_head", each},
                   {"launches", (double)made.lane[0].launches / (double)(runs + !runs)}}};
    return status;
}

clattn_status bench_row_mixed_lengths(const bench_dispatcher_run *run, bench_row *row)
{
    clattn_dispatcher *together = NULL, *naive = NULL;
    bench_rig rig = {0};
    *row = (bench_row){.name = "mixed_lengths"};
    clattn_status status =
        bench_rig_init(&rig, run->context, (bench_extents){1, 1, 1, LONGEST}, MIXED);
    if (status == CLATTN_OK)
        status = bench_row_dispatcher(run->context, 0, false, &together);
    if (status == CLATTN_OK)
        status = bench_row_dispatcher(run->context, 0, true, &naive);
    if (status == CLATTN_OK)
        status = time_mixed(run, together, naive, &rig, row);
    clattn_dispatcher_destroy(naive);
    clattn_dispatcher_destroy(together);
    bench_rig_finish(&rig);
    return status;
}

/* ---- serving --------------------------------------------------------------------------------- */

clattn_status bench_row_serving(const bench_dispatcher_run *run, bench_row *row)
{
    const serving_load full = {.requests = 96, .steps = 128, .rate = 2000, .prefill = 1};
    *row = (bench_row){.name = "serving"};
    serving_load decode = full;
    serving_result own = {0}, naive = {0}, alone = {0}, once;
    decode.prefill = 0;
    for (int round = 0; round < 3; round++) {
        clattn_status status = serving_run(run->context, &full, 0, run->trace, &once);
        if (status == CLATTN_OK && once.tokens_per_s > own.tokens_per_s)
            own = once;
        if (status == CLATTN_OK)
            status = serving_run(run->context, &full, 1, NULL, &once);
        if (status == CLATTN_OK && once.tokens_per_s > naive.tokens_per_s)
            naive = once;
        if (status == CLATTN_OK)
            status = serving_run(run->context, &decode, 0, NULL, &once);
        if (status == CLATTN_OK && once.tokens_per_s > alone.tokens_per_s)
            alone = once;
        if (status != CLATTN_OK)
            return status;
    }
    *row = (bench_row){.name = "serving",
                       .figure = {{"tokens_per_s", own.tokens_per_s},
                                  {"tokens_per_s_naive", naive.tokens_per_s},
                                  {"p50_ms", own.p50 * 1e3},
                                  {"p95_ms", own.p95 * 1e3},
                                  {"p99_ms", own.p99 * 1e3},
                                  {"p99_ms_without_prefill", alone.p99 * 1e3}},
                       .fairness = own.least / own.most};
    return CLATTN_OK;
}
