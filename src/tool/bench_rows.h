/* The rows of clattn bench --suite dispatch: bench_submit.c, bench_load.c and bench_lanes.c. Every
 * comparison alternates its two sides and takes the best of each, or the medians, of the sides or
 * of what is asked of them (a difference, a ratio): whatever else the machine does makes both
 * slower. */
#ifndef CLATTN_TOOL_BENCH_ROWS_H
#define CLATTN_TOOL_BENCH_ROWS_H

#include <stdbool.h>

#include <clattn/clattn.h>

enum { BENCH_ROW_FIGURES = 6 };

typedef struct bench_row {
    const char *name;
    struct {
        const char *key;
        double value;
    } figure[BENCH_ROW_FIGURES]; /* those with a key */
    double fairness;    /* for people: best request's mean latency by the worst's; 0: none */
    char left_out[256]; /* with CLATTN_ERR_UNSUPPORTED: why it can't be measured here */
} bench_row;

typedef struct bench_dispatcher_run {
    const char *device, *trace; /* may be NULL */
    double seconds;             /* how long each measurement goes on */
    clattn_context *context;    /* of the whole device */
} bench_dispatcher_run;

/* A context of the run's device in parts. `timed`: what OpenCL's calls take is counted, see
 * bench_raw.h. */
clattn_status bench_row_context(const bench_dispatcher_run *run, uint32_t parts, bool timed,
                                clattn_context **context);
clattn_status bench_row_dispatcher(clattn_context *context, uint32_t lanes, bool direct,
                                   clattn_dispatcher **dispatcher);

/* Each sets the name first, then its figures. */
clattn_status bench_row_submit(const bench_dispatcher_run *run, bench_row *row);
clattn_status bench_row_end_to_end(const bench_dispatcher_run *run, bench_row *row);
clattn_status bench_row_plan(const bench_dispatcher_run *run, bench_row *row);
clattn_status bench_row_batch(const bench_dispatcher_run *run, bench_row *row);
clattn_status bench_row_mixed_lengths(const bench_dispatcher_run *run, bench_row *row);
clattn_status bench_row_serving(const bench_dispatcher_run *run, bench_row *row);
clattn_status bench_row_two_lanes(const bench_dispatcher_run *run, bench_row *row);
clattn_status bench_row_slowed_lane(const bench_dispatcher_run *run, bench_row *row);

#endif
