/* See bench_report.h. Rates and shares are those of the fastest run: whatever else the machine does
 * only makes a run slower, and the peaks are the best of many runs too. */
#include "tool/bench_report.h"

#include <inttypes.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "tool/options.h"

/* Figures of one row. */
typedef struct rates {
    double gflops, gbytes, share;
    bool decode; /* share is that of the bandwidth */
} rates;

static rates rates_of(const bench_report *report, uint32_t row)
{
    const bench_shape *shape = &report->shapes[row];
    const double seconds = report->timings[row].min;
    rates made = {.gflops = 1e-9 * bench_shape_operations(shape) / seconds,
                  .gbytes = 1e-9 * bench_shape_kv_bytes(shape) / seconds,
                  .decode = bench_shape_is_decode(shape)};
    made.share =
        made.decode ? made.gbytes / report->peak_gbytes : made.gflops / report->peak_gflops;
    return made;
}

static void print_row(const bench_report *report, uint32_t row)
{
    const bench_timing *timing = &report->timings[row];
    const rates reached = rates_of(report, row);
    char shape[128];
    bench_shape_print(&report->shapes[row], shape, sizeof shape);
    printf("%-30s  %-20s  %10.4f  %10.4f  %8.1f %s  %5.1f %%\n", shape, timing->kernel,
           timing->min * 1e3, timing->median * 1e3,
           reached.decode ? reached.gbytes : reached.gflops, reached.decode ? "GB/s" : "GF/s",
           100 * reached.share);
}

int bench_report_text(const bench_report *report)
{
    printf("%s: peak %.1f GF/s (float32), %.1f GB/s read; an empty launch %.1f us, %.2f us among "
           "many; tensors in %s\n\n",
           report->device, report->peak_gflops, report->peak_gbytes, report->launch_us,
           report->enqueue_us, report->type->name);
    printf("%-30s  %-20s  %10s  %10s  %13s  %7s\n", "B,H,HKV,SQ,SK,D,causal", "kernel", "min, ms",
           "median, ms", "fastest", "of peak");
    for (uint32_t i = 0; i < report->count; i++)
        print_row(report, i);
    return EXIT_RAN;
}

static cJSON *row_object(const bench_report *report, uint32_t row)
{
    const bench_shape *shape = &report->shapes[row];
    const bench_timing *timing = &report->timings[row];
    const rates reached = rates_of(report, row);
    static const char *const linear_keys[] = {"batch", NULL, NULL, "rows", "in", "out"};
    static const char *const additive_keys[] = {"batch", "n_head", NULL, "n_q", "n_kv", "channels"};
    const char *const *keys = shape->linear ? linear_keys : shape->additive ? additive_keys : NULL;
    const struct {
        const char *key;
        double value;
    } extents[] = {{"batch", (double)shape->batch},         {"n_head", (double)shape->n_head},
                   {"n_kv_head", (double)shape->n_kv_head}, {"n_q", (double)shape->n_q},
                   {"n_kv", (double)shape->n_kv},           {"head_dim", (double)shape->head_dim}},
      figures[] = {{"seconds_min", timing->min},
                   {"seconds_median", timing->median},
                   {"gflops", reached.gflops},
                   {"gbytes_per_s", reached.gbytes},
                   {"peak_gflops", report->peak_gflops},
                   {"peak_gbytes_per_s", report->peak_gbytes},
                   {"share", reached.share}};
    char operation[64];
    bench_shape_operation(shape, operation, sizeof operation);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "op", operation);
    for (size_t i = 0; i < sizeof extents / sizeof extents[0]; i++) {
        const char *key = keys ? keys[i] : extents[i].key;
        if (key)
            cJSON_AddNumberToObject(object, key, extents[i].value);
    }
    if (!keys)
        cJSON_AddBoolToObject(object, "causal", shape->causal);
    cJSON_AddStringToObject(object, "dtype", bench_shape_dtype(shape));
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        cJSON_AddNumberToObject(object, figures[i].key, figures[i].value);
    cJSON_AddStringToObject(object, "kernel", timing->kernel);
    return object;
}

int bench_report_json(const bench_report *report)
{
    for (uint32_t i = 0; i < report->count; i++) {
        cJSON *object = row_object(report, i);
        char *line = cJSON_PrintUnformatted(object);
        cJSON_Delete(object);
        if (!line)
            return failure("--json", "out of memory");
        printf("%s\n", line);
        cJSON_free(line);
    }
    return EXIT_RAN;
}
