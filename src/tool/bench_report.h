/* How clattn bench reports: a table, or a line of JSON for each shape. */
#ifndef CLATTN_TOOL_BENCH_REPORT_H
#define CLATTN_TOOL_BENCH_REPORT_H

#include "tool/bench_time.h"

/* What was measured in one run. */
typedef struct bench_report {
    const bench_shape *shapes;   /* (count), borrowed */
    const bench_timing *timings; /* (count), borrowed */
    uint32_t count;
    const stored_type *type;         /* of shapes without a feature's own */
    double peak_gflops, peak_gbytes; /* of the device, 1e9/s */
    double launch_us, enqueue_us;    /* of an empty kernel: waited for, and one of many */
    const char *device;              /* its name */
} bench_report;

/* Prints on stdout. The exit status. */
int bench_report_text(const bench_report *report);
int bench_report_json(const bench_report *report);

#endif
