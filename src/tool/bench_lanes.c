/* Two lanes of one core each: against one lane of both cores, and, while something takes half of
 * one core, against one lane of one core at full speed. */
/* NOLINTNEXTLINE(readability-identifier-naming) */
#define _GNU_SOURCE /* binding the thread that slows a lane */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "tool/bench_median.h"
#include "tool/bench_rig.h"
#include "tool/bench_rows.h"

/* Enough jobs for a round to be long beside the 4 ms that a scheduler gives to who shares a core:
 * the last job of a lane may wait for that, which is no throughput. Each is submitted TIMES times,
 * and has 1 MiB of memory. */
enum { JOBS = 192, TIMES = 2, LEAST_ROUNDS = 15, MOST_ROUNDS = 2000 };

/* A context, a dispatcher on it, and work. */
typedef struct side {
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    bench_rig rig;
    double seconds; /* of the last round */
} side;

/* Many independent submissions, on all lanes of a dispatcher: a round. */
static clattn_status run_jobs(side *s)
{
    const double start = bench_now();
    for (uint32_t i = 0; i < TIMES * JOBS; i++) {
        bench_piece piece;
        bench_rig_piece(&s->rig, i % JOBS, 256, 1 + i % JOBS, &piece);
        const clattn_status status = bench_rig_submit(s->dispatcher, &piece, 0, NULL);
        if (status != CLATTN_OK)
            return status;
    }
    const clattn_status status = clattn_dispatcher_finish(s->dispatcher);
    s->seconds = bench_now() - start;
    return status;
}

static clattn_status open_side(const bench_dispatcher_run *run, uint32_t parts, uint32_t lanes,
                               side *s)
{
    *s = (side){.context = NULL};
    clattn_status status = bench_row_context(run, parts, false, &s->context);
    if (status == CLATTN_OK)
        status = bench_rig_init(&s->rig, s->context, (bench_extents){4, 4, 256, 256}, JOBS);
    return status == CLATTN_OK ? bench_row_dispatcher(s->context, lanes, false, &s->dispatcher)
                               : status;
}

static void close_side(side *s)
{
    clattn_dispatcher_destroy(s->dispatcher);
    bench_rig_finish(&s->rig);
    clattn_context_destroy(s->context);
}

/* ---- the lane that is slowed ----------------------------------------------------------------- */

/* A thread that takes half of a core away from whoever runs there. */
typedef struct spinner {
    pthread_t thread;
    int core;
    atomic_int state; /* 0: not there yet; 1: on its core; 2: it may not go there */
    atomic_bool stop;
} spinner;

static void *spin(void *user)
{
    spinner *s = user;
    cpu_set_t core;
    CPU_ZERO(&core);
    CPU_SET((size_t)s->core, &core);
    const bool there = pthread_setaffinity_np(pthread_self(), sizeof core, &core) == 0;
    atomic_store(&s->state, there ? 1 : 2);
    while (there && !atomic_load(&s->stop))
        ;
    return NULL;
}

/* Runs the jobs beside it. */
static clattn_status run_slowed(side *s, int core, bench_row *row)
{
    spinner beside = {.core = core};
    if (pthread_create(&beside.thread, NULL, spin, &beside) != 0)
        return CLATTN_ERR_OUT_OF_MEMORY;
    while (atomic_load(&beside.state) == 0)
        sched_yield();
    clattn_status status = CLATTN_ERR_UNSUPPORTED;
    if (atomic_load(&beside.state) == 1)
        status = run_jobs(s);
    else
        snprintf(row->left_out, sizeof row->left_out, "no thread can be bound to core %d", core);
    atomic_store(&beside.stop, true);
    pthread_join(beside.thread, NULL);
    return status;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* How many cores the process may use, and the last of them. */
static int usable_cores(int *last)
{
    cpu_set_t cores;
    int count = 0;
    if (sched_getaffinity(0, sizeof cores, &cores) != 0)
        return 0;
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET((size_t)i, &cores)) {
            *last = i;
            count++;
        }
    return count;
}

/* Lanes of one core each are compared with one of two; elsewhere the row would say something else.
 */
static clattn_status check_cores(const bench_dispatcher_run *run, bench_row *row, int *last)
{
    clattn_device_info info = {.struct_size = sizeof info};
    const int cores = usable_cores(last);
    const clattn_status status = clattn_context_device_info(run->context, &info);
    if (status != CLATTN_OK || (cores == 2 && info.compute_units == 2))
        return status;
    snprintf(row->left_out, sizeof row->left_out,
             "needs a device of 2 compute units on 2 cores; this one has %" PRIu32
             ", and the process may use %d",
             info.compute_units, cores);
    return CLATTN_ERR_UNSUPPORTED;
}

/* Two lanes, which the device may not be able to be divided into. */
static clattn_status open_both(const bench_dispatcher_run *run, bool slowed, side *one, side *two,
                               bench_row *row)
{
    const clattn_status first = open_side(run, slowed ? 2 : 0, 1, one);
    const clattn_status second = open_side(run, 2, 2, two);
    if (second == CLATTN_ERR_UNSUPPORTED)
        snprintf(row->left_out, sizeof row->left_out, "%s", clattn_error_message());
    return second == CLATTN_OK ? first : second;
}

/* Rounds on one lane, each with one on two right after it, so that whatever else the machine does
 * falls on both; the first of them, which warms up, doesn't count. The median of the ratios. */
static clattn_status alternate(side *one, side *two, int slowed_core, double seconds,
                               bench_row *row)
{
    static double speedup[MOST_ROUNDS]; /* the tool has one thread here */
    size_t count = 0;
    clattn_status status = CLATTN_OK;
    const double end = bench_now() + seconds;
    for (int i = 0; count < MOST_ROUNDS && (count < LEAST_ROUNDS || bench_now() < end); i++) {
        status = run_jobs(one);
        if (status == CLATTN_OK)
            status = slowed_core < 0 ? run_jobs(two) : run_slowed(two, slowed_core, row);
        if (status != CLATTN_OK)
            return status;
        if (i > 0)
            speedup[count++] = one->seconds / two->seconds;
    }
    row->figure[0].value = bench_median(speedup, count);
    return CLATTN_OK;
}

/* `one` lane against two: of all cores, or, slowed, of half of them at full speed. */
static clattn_status compare(const bench_dispatcher_run *run, bool slowed, bench_row *row)
{
    side one, two;
    int last = 0;
    *row = (bench_row){.name = slowed ? "slowed_lane" : "two_lanes",
                       .figure = {{"speedup_over_one_lane", 0}}};
    clattn_status status = check_cores(run, row, &last);
    if (status != CLATTN_OK)
        return status;
    status = open_both(run, slowed, &one, &two, row);
    if (status == CLATTN_OK)
        status = alternate(&one, &two, slowed ? last : -1, run->seconds, row);
    close_side(&two);
    close_side(&one);
    return status;
}

clattn_status bench_row_two_lanes(const bench_dispatcher_run *run, bench_row *row)
{
    return compare(run, false, row);
}

clattn_status bench_row_slowed_lane(const bench_dispatcher_run *run, bench_row *row)
{
    return compare(run, true, row);
}
