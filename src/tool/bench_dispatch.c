/* See bench_dispatch.h. Every comparison alternates its two sides and takes the best of each:
 * whatever else the machine does only makes a run slower. */
/* NOLINTNEXTLINE(readability-identifier-naming) */
#define _GNU_SOURCE /* pinning the thread that slows a lane */
#include "tool/bench_dispatch.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "tool/bench_raw.h"
#include "tool/bench_serving.h"
#include "tool/commands.h"

enum { MIXED = 32, LONGEST = 4096, JOBS = 48, FIGURES = 6 };

/* A row of the report. */
typedef struct dispatch_row {
    const char *name;
    struct {
        const char *key;
        double value;
    } figure[FIGURES]; /* those with a key */
    double fairness;   /* for people: best request's mean latency by the worst's; 0: none */
} dispatch_row;

typedef struct dispatch_bench {
    const char *device, *trace;
    double seconds;
    clattn_context *context; /* of the whole device */
} dispatch_bench;

static clattn_status make_context(const dispatch_bench *of, uint32_t parts, bool timed,
                                  clattn_context **context)
{
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.device = of->device;
    options.parts = parts;
    if (timed)
        bench_raw_set(&options);
    return clattn_context_create(&options, context);
}

static clattn_status make_dispatcher(clattn_context *context, uint32_t lanes, bool direct,
                                     clattn_dispatcher **dispatcher)
{
    clattn_dispatcher_options options;
    clattn_dispatcher_options_init(&options);
    options.lanes = lanes;
    options.direct = direct;
    return clattn_dispatcher_create(context, &options, dispatcher);
}

/* ---- submit ---------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Medians of submitting, and of what OpenCL took of it. */
static clattn_status time_submits(clattn_dispatcher *dispatcher, const bench_piece *piece,
                                  double seconds, dispatch_row *row)
{
    enum { MOST = 4000 };
    static double whole[MOST], raw[MOST]; /* the tool has one thread here */
    const double end = bench_now() + seconds;
    int count = 0;
    while (count < MOST && (count < 50 || bench_now() < end)) {
        clattn_event *event;
        bench_raw_take();
        const double start = bench_now();
        clattn_status status = bench_rig_submit(dispatcher, piece, 0, &event);
        whole[count] = bench_now() - start;
        raw[count++] = bench_raw_take();
        if (status == CLATTN_OK) {
            status = clattn_event_wait(event, UINT64_MAX);
            clattn_event_release(event);
        }
        if (status != CLATTN_OK)
            return status;
    }
    qsort(whole, (size_t)count, sizeof *whole, by_value);
    qsort(raw, (size_t)count, sizeof *raw, by_value);
    row->figure[0].value = whole[count / 2];
    row->figure[1].value = raw[count / 2];
    return CLATTN_OK;
}

static clattn_status bench_submit(const dispatch_bench *of, dispatch_row *row)
{
    clattn_context *context = NULL;
    clattn_dispatcher *dispatcher = NULL;
    bench_rig rig = {0};
    bench_piece piece;
    *row = (dispatch_row){.name = "submit", .figure = {{"seconds", 0}, {"raw_seconds", 0}}};
    clattn_status status = make_context(of, 0, true, &context);
    if (status == CLATTN_OK)
        status = bench_rig_init(&rig, context, (bench_extents){8, 8, 96, 96}, 1);
    if (status == CLATTN_OK)
        status = make_dispatcher(context, 0, false, &dispatcher);
    if (status == CLATTN_OK) {
        bench_rig_piece(&rig, 0, 96, 0, &piece);
        status = time_submits(dispatcher, &piece, of->seconds, row);
    }
    clattn_dispatcher_destroy(dispatcher);
    bench_rig_finish(&rig);
    clattn_context_destroy(context);
    return status;
}

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

static clattn_status time_mixed(const dispatch_bench *of, clattn_dispatcher *together,
                                clattn_dispatcher *naive, const bench_rig *rig, dispatch_row *row)
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
    const double end = bench_now() + of->seconds;
    while (status == CLATTN_OK && (runs < 5 || bench_now() < end)) {
        status = run_together(together, steps, &best);
        if (status == CLATTN_OK)
            status = run_each(naive, pieces, &each);
        runs++;
    }
    if (status == CLATTN_OK)
        status = clattn_dispatcher_get_statistics(together, &made);
    *row = (dispatch_row){
        .name = "mixed_lengths",
        .figure = {{"seconds", best},
                   {"seconds_one_launch_a_head", each},
                   {"launches", (double)made.lane[0].launches / (double)(runs + !runs)}}};
    return status;
}

static clattn_status bench_mixed(const dispatch_bench *of, dispatch_row *row)
{
    clattn_dispatcher *together = NULL, *naive = NULL;
    bench_rig rig = {0};
    clattn_status status =
        bench_rig_init(&rig, of->context, (bench_extents){1, 1, 1, LONGEST}, MIXED);
    if (status == CLATTN_OK)
        status = make_dispatcher(of->context, 0, false, &together);
    if (status == CLATTN_OK)
        status = make_dispatcher(of->context, 0, true, &naive);
    if (status == CLATTN_OK)
        status = time_mixed(of, together, naive, &rig, row);
    clattn_dispatcher_destroy(naive);
    clattn_dispatcher_destroy(together);
    bench_rig_finish(&rig);
    return status;
}

/* ---- serving --------------------------------------------------------------------------------- */

static clattn_status bench_serving(const dispatch_bench *of, dispatch_row *row)
{
    const serving_load full = {.requests = 96, .steps = 128, .rate = 2000, .prefill = 1};
    serving_load decode = full;
    serving_result own = {0}, naive = {0}, alone = {0}, once;
    decode.prefill = 0;
    for (int round = 0; round < 3; round++) {
        clattn_status status = serving_run(of->context, &full, 0, of->trace, &once);
        if (status == CLATTN_OK && once.tokens_per_s > own.tokens_per_s)
            own = once;
        if (status == CLATTN_OK)
            status = serving_run(of->context, &full, 1, NULL, &once);
        if (status == CLATTN_OK && once.tokens_per_s > naive.tokens_per_s)
            naive = once;
        if (status == CLATTN_OK)
            status = serving_run(of->context, &decode, 0, NULL, &once);
        if (status == CLATTN_OK && once.tokens_per_s > alone.tokens_per_s)
            alone = once;
        if (status != CLATTN_OK)
            return status;
    }
    *row = (dispatch_row){"serving",
                          {{"tokens_per_s", own.tokens_per_s},
                           {"tokens_per_s_naive", naive.tokens_per_s},
                           {"p50_ms", own.p50 * 1e3},
                           {"p95_ms", own.p95 * 1e3},
                           {"p99_ms", own.p99 * 1e3},
                           {"p99_ms_without_prefill", alone.p99 * 1e3}},
                          own.least / own.most};
    return CLATTN_OK;
}

/* ---- lanes ----------------------------------------------------------------------------------- */

/* Many independent submissions, on all lanes of a dispatcher. */
static clattn_status run_jobs(clattn_dispatcher *dispatcher, const bench_rig *rig, double *seconds)
{
    const double start = bench_now();
    for (uint32_t i = 0; i < JOBS; i++) {
        bench_piece piece;
        bench_rig_piece(rig, i, 256, 1 + i, &piece);
        const clattn_status status = bench_rig_submit(dispatcher, &piece, 0, NULL);
        if (status != CLATTN_OK)
            return status;
    }
    const clattn_status status = clattn_dispatcher_finish(dispatcher);
    *seconds = fmin(*seconds, bench_now() - start);
    return status;
}

/* A context, a dispatcher on it, and work. */
typedef struct side {
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    bench_rig rig;
    double best;
} side;

static clattn_status open_side(const dispatch_bench *of, uint32_t parts, uint32_t lanes, side *s)
{
    *s = (side){.best = 1e300};
    clattn_status status = make_context(of, parts, false, &s->context);
    if (status == CLATTN_OK)
        status = bench_rig_init(&s->rig, s->context, (bench_extents){4, 4, 256, 256}, JOBS);
    return status == CLATTN_OK ? make_dispatcher(s->context, lanes, false, &s->dispatcher) : status;
}

static void close_side(side *s)
{
    clattn_dispatcher_destroy(s->dispatcher);
    bench_rig_finish(&s->rig);
    clattn_context_destroy(s->context);
}

static atomic_bool slowing;

/* Takes half of the last core away from whoever runs there. */
static void *slow_down(void *user)
{
    const long cores = *(const long *)user;
    cpu_set_t last;
    CPU_ZERO(&last);
    CPU_SET((size_t)(cores - 1), &last);
    pthread_setaffinity_np(pthread_self(), sizeof last, &last);
    while (atomic_load(&slowing))
        ;
    return NULL;
}

static clattn_status run_slowed(side *s, long cores)
{
    pthread_t thread;
    atomic_store(&slowing, true);
    if (pthread_create(&thread, NULL, slow_down, &cores) != 0)
        return CLATTN_ERR_OUT_OF_MEMORY;
    const clattn_status status = run_jobs(s->dispatcher, &s->rig, &s->best);
    atomic_store(&slowing, false);
    pthread_join(thread, NULL);
    return status;
}

/* `one` lane against two: of all cores, or, slowed, of half of them at full speed. */
static clattn_status bench_lanes(const dispatch_bench *of, bool slowed, dispatch_row *row)
{
    side one, two;
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *row = (dispatch_row){.name = slowed ? "slowed_lane" : "two_lanes",
                          .figure = {{"speedup_over_one_lane", 0}}};
    clattn_status status = open_side(of, slowed ? 2 : 0, 1, &one);
    const clattn_status opened = open_side(of, 2, 2, &two);
    status = status == CLATTN_OK ? opened : status;
    const double end = bench_now() + of->seconds;
    for (int i = 0; status == CLATTN_OK && (i < 5 || bench_now() < end); i++) {
        status = run_jobs(one.dispatcher, &one.rig, &one.best);
        if (status == CLATTN_OK)
            status =
                slowed ? run_slowed(&two, cores) : run_jobs(two.dispatcher, &two.rig, &two.best);
    }
    row->figure[0].value = one.best / two.best;
    close_side(&two);
    close_side(&one);
    return status;
}

/* ---- report ---------------------------------------------------------------------------------- */

static int print_row(const dispatch_row *row, bool json)
{
    if (!json) {
        printf("%-14s", row->name);
        for (int i = 0; i < FIGURES && row->figure[i].key; i++)
            printf("  %s %.6g", row->figure[i].key, row->figure[i].value);
        if (row->fairness > 0)
            printf("  fairness %.3f", row->fairness);
        printf("\n");
        return EXIT_RAN;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "name", row->name);
    for (int i = 0; i < FIGURES && row->figure[i].key; i++)
        cJSON_AddNumberToObject(object, row->figure[i].key, row->figure[i].value);
    char *line = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    if (!line)
        return failure("--json", "out of memory");
    printf("%s\n", line);
    cJSON_free(line);
    return EXIT_RAN;
}

static clattn_status run_row(const dispatch_bench *of, int index, dispatch_row *row)
{
    switch (index) {
    case 0:
        return bench_submit(of, row);
    case 1:
        return bench_mixed(of, row);
    case 2:
        return bench_serving(of, row);
    default:
        return bench_lanes(of, index == 4, row);
    }
}

int bench_dispatch(const char *device, double seconds, bool json, const char *trace)
{
    dispatch_bench of = {.device = device, .seconds = seconds, .trace = trace};
    clattn_status status = make_context(&of, 0, false, &of.context);
    int exit_status = EXIT_RAN;
    if (status != CLATTN_OK)
        return device_failure(device, status);
    for (int i = 0; i < 5 && exit_status == EXIT_RAN; i++) {
        dispatch_row row;
        status = run_row(&of, i, &row);
        if (status == CLATTN_ERR_UNSUPPORTED && i >= 3)
            fprintf(stderr, "clattn: %s: left out: %s\n", row.name, clattn_error_message());
        else if (status != CLATTN_OK)
            exit_status = failure("bench", "%s", clattn_error_message());
        else
            exit_status = print_row(&row, json);
        fflush(stdout);
    }
    clattn_context_destroy(of.context);
    return exit_status;
}
