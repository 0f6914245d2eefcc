/* clattn bench: times attention on shapes, beside the peaks of the same device in the same run. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool/bench_dispatch.h"
#include "tool/bench_report.h"
#include "tool/bench_tensor.h"
#include "tool/commands.h"
#include "tool/progress.h"

#define DEFAULT_SECONDS 0.5
#define MOST_SECONDS    3600.0
/* Steps of the progress bar for measuring the peaks once. */
#define PEAK_STEPS 2

/* The command line, and what becomes of it. */
typedef struct bench_run {
    int suite, type_choice;
    option_list shape_texts, feature_names;
    option_number seconds;
    bool json, untuned, backward;
    const char *device, *kernel, *trace;
    const stored_type *type;
    bench_list list;
    clattn_context *context;
    clattn_device_info info;
    clattn_device_measurement peak; /* the better of before and after */
    bench_timing *timings;          /* (list.count) */
    uint32_t done;                  /* of them */
} bench_run;

/* A shape of --shape as it is, or with each feature. */
static int add_shape(bench_run *run, bench_shape *shape)
{
    const option_list *names = &run->feature_names;
    bool good = true;
    bench_shape_set_feature(shape, NULL, run->type);
    if (names->count == 0)
        good = bench_list_add(&run->list, shape);
    for (uint32_t i = 0; good && i < names->count; i++) {
        const bench_feature *feature = bench_feature_find(names->value[i]);
        if (!feature)
            return EXIT_USAGE;
        bench_shape_set_feature(shape, feature, run->type);
        good = bench_list_add(&run->list, shape);
    }
    return good ? EXIT_RAN : failure("bench", "out of memory");
}

/* The shapes of the suite, then those of --shape. */
static int make_list(bench_run *run)
{
    if (run->feature_names.count && run->shape_texts.count == 0)
        return usage_error("--feature", "needs --shape; --suite features has every feature");
    if (run->backward && run->shape_texts.count == 0)
        return usage_error("--backward", "needs --shape; --suite backward has shapes of its own");
    if (!run->suite && run->shape_texts.count == 0)
        run->suite = BENCH_SUITE_SHORT;
    if (run->suite && !bench_list_add_suite(&run->list, run->suite, run->type))
        return failure("bench", "out of memory");
    for (uint32_t i = 0; i < run->shape_texts.count; i++) {
        bench_shape shape = {0};
        if (!bench_shape_parse(run->shape_texts.value[i], &shape))
            return EXIT_USAGE;
        shape.backward = run->backward;
        const int status = add_shape(run, &shape);
        if (status != EXIT_RAN)
            return status;
    }
    run->timings = calloc(run->list.count, sizeof *run->timings);
    return run->timings ? EXIT_RAN : failure("bench", "out of memory");
}

static int check_options(bench_run *run)
{
    if (!run->seconds.given)
        run->seconds.value = DEFAULT_SECONDS;
    if (!(run->seconds.value > 0) || run->seconds.value > MOST_SECONDS)
        return usage_error("--seconds", "is %g, must be above 0 and at most %g", run->seconds.value,
                           MOST_SECONDS);
    run->type = stored_type_get(run->type_choice);
    const int status = check_kernel(run->kernel);
    return status == EXIT_RAN ? make_list(run) : status;
}

static int open_device(bench_run *run)
{
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.device = run->device;
    options.kernel = run->kernel;
    options.flags = run->untuned ? CLATTN_CONTEXT_NO_TUNING : 0;
    const clattn_status status = clattn_context_create(&options, &run->context);
    if (status != CLATTN_OK)
        return device_failure(run->device, status);
    run->info.struct_size = sizeof run->info;
    clattn_context_device_info(run->context, &run->info);
    return EXIT_RAN;
}

/* Refuses what cannot fit, before anything is allocated. A device that shares memory with the host
 * leaves half of it to the rest of the system. */
static int check_memory(const bench_run *run, const bench_shape *shape, uint64_t workspace)
{
    const double gib = 1024.0 * 1024.0 * 1024.0, part = run->info.unified_memory ? 0.5 : 1.0;
    const double room = part * (double)run->info.global_memory;
    double total = (double)workspace, largest = (double)workspace;
    char text[128];
    bench_shape_print(shape, text, sizeof text);
    for (uint32_t i = 0; bench_tensor_get(i); i++) {
        const bench_tensor *tensor = bench_tensor_get(i);
        if (!bench_tensor_takes_part(tensor, shape))
            continue;
        const double bytes = bench_tensor_element_size(tensor, shape) * tensor->elements(shape);
        largest = bytes > largest ? bytes : largest;
        total += bytes;
    }
    if (largest > (double)run->info.max_allocation)
        return usage_error("--shape",
                           "%s: needs %.1f GiB in one piece, the device allocates at most %.1f GiB",
                           text, largest / gib, (double)run->info.max_allocation / gib);
    if (total > room)
        return usage_error("--shape",
                           "%s: needs %.1f GiB, of the device's memory %.1f GiB are used", text,
                           total / gib, room / gib);
    return EXIT_RAN;
}

/* A sentence of the library about one shape. */
static int shape_failure(const bench_shape *shape, clattn_status status)
{
    char text[128];
    bench_shape_print(shape, text, sizeof text);
    return status == CLATTN_ERR_ARGUMENT
               ? usage_error("--shape", "%s: %s", text, clattn_error_message())
               : failure("--shape", "%s: %s", text, clattn_error_message());
}

/* All that can be known before the first shape is timed. */
static int check_shapes(bench_run *run)
{
    for (uint32_t i = 0; i < run->list.count; i++) {
        const bench_shape *shape = &run->list.shape[i];
        uint64_t workspace;
        int status = check_memory(run, shape, 0);
        if (status != EXIT_RAN)
            return status;
        const clattn_status planned = bench_time_check(run->context, shape, &workspace);
        if (planned != CLATTN_OK)
            return shape_failure(shape, planned);
        status = check_memory(run, shape, workspace);
        if (status != EXIT_RAN)
            return status;
    }
    return EXIT_RAN;
}

/* The less time something takes, the nearer is it to what the device can do. */
static void lower(double *least, double measured)
{
    if (*least == 0 || measured < *least)
        *least = measured;
}

/* Clocks drift: of what is measured before and after, the better counts. */
static clattn_status measure_peaks(bench_run *run)
{
    clattn_device_measurement measured = {.struct_size = sizeof measured};
    const clattn_status status = clattn_device_measure(run->context, &measured);
    if (status != CLATTN_OK)
        return status;
    if (measured.fma_gflops > run->peak.fma_gflops)
        run->peak.fma_gflops = measured.fma_gflops;
    if (measured.read_gbytes > run->peak.read_gbytes)
        run->peak.read_gbytes = measured.read_gbytes;
    lower(&run->peak.launch_us, measured.launch_us);
    lower(&run->peak.enqueue_us, measured.enqueue_us);
    return CLATTN_OK;
}

/* Peaks, shapes, peaks. *at is the shape that failed, the list's length where the peaks did. */
static clattn_status time_all(bench_run *run, progress *line, uint32_t *at)
{
    const uint32_t count = run->list.count;
    *at = count;
    clattn_status status = measure_peaks(run);
    while (status == CLATTN_OK && run->done < count) {
        *at = run->done;
        progress_set(line, PEAK_STEPS + run->done, count + 2 * PEAK_STEPS);
        status = bench_time(run->context, &run->list.shape[run->done], run->seconds.value,
                            &run->timings[run->done]);
        run->done += status == CLATTN_OK;
    }
    if (status != CLATTN_OK)
        return status;
    *at = count;
    progress_set(line, PEAK_STEPS + count, count + 2 * PEAK_STEPS);
    return measure_peaks(run);
}

/* What is known is reported even if a shape has failed. */
static int report(const bench_run *run)
{
    const bench_report made = {.shapes = run->list.shape,
                               .timings = run->timings,
                               .count = run->done,
                               .type = run->type,
                               .peak_gflops = run->peak.fma_gflops,
                               .peak_gbytes = run->peak.read_gbytes,
                               .launch_us = run->peak.launch_us,
                               .enqueue_us = run->peak.enqueue_us,
                               .device = run->info.name};
    if (run->done == 0)
        return EXIT_RAN;
    return run->json ? bench_report_json(&made) : bench_report_text(&made);
}

/* The suite that has no shapes. */
static int run_dispatch(const bench_run *run)
{
    if (run->shape_texts.count || run->feature_names.count || run->backward || run->kernel ||
        run->type_choice || run->untuned)
        return usage_error("--suite",
                           "dispatch takes --device, --seconds, --trace and --json alone");
    const double seconds = run->seconds.given ? run->seconds.value : DEFAULT_SECONDS;
    if (!(seconds > 0) || seconds > MOST_SECONDS)
        return usage_error("--seconds", "is %g, must be above 0 and at most %g", seconds,
                           MOST_SECONDS);
    return bench_dispatch(run->device, seconds, run->json, run->trace);
}

static int run_bench(bench_run *run)
{
    uint32_t at;
    if (run->suite == BENCH_SUITE_DISPATCH)
        return run_dispatch(run);
    if (run->trace)
        return usage_error("--trace", "needs --suite dispatch");
    int status = check_options(run);
    if (status == EXIT_RAN)
        status = open_device(run);
    if (status == EXIT_RAN)
        status = check_shapes(run);
    if (status != EXIT_RAN)
        return status;
    progress *line = progress_start("bench");
    const clattn_status timed = time_all(run, line, &at);
    progress_stop(line);
    status = report(run);
    if (timed == CLATTN_OK)
        return status;
    return at < run->list.count ? shape_failure(&run->list.shape[at], timed)
                                : failure("peaks", "%s", clattn_error_message());
}

int command_bench(const command *self, int argc, char **argv)
{
    bench_run run = {0};
    int status = EXIT_RAN;
    const option_row rows[] = {
        {"suite", OPTION_CHOICE, false, &run.suite, BENCH_SUITE_NAMES,
         "shapes of a table; default short, unless --shape is given"},
        {"shape", OPTION_LIST, false, &run.shape_texts, BENCH_SHAPE_FORM,
         "batch, query heads, key/value heads, queries, keys, head dimension, causal 0 or 1"},
        {"dtype", OPTION_CHOICE, false, &run.type_choice, STORED_TYPE_NAMES,
         "how queries, keys, values and output are stored; default f32"},
        {"feature", OPTION_LIST, false, &run.feature_names, "NAME",
         "mask, bias, alibi, softcap, window, f16, bf16, int8, int4, dropout, top-k, rotary, "
         "lengths, pages, append or uneven: the shapes of --shape are timed with it, as in --suite "
         "features"},
        {"backward", OPTION_FLAG, false, &run.backward, NULL,
         "gradients of the shapes of --shape by queries, keys and values, with GF/s of five "
         "products"},
        {"device", OPTION_TEXT, false, &run.device, "SELECTOR", DEVICE_HELP},
        {"kernel", OPTION_TEXT, false, &run.kernel, "NAME", "this kernel and no other"},
        {"seconds", OPTION_NUMBER, false, &run.seconds, "X",
         "how long to time a shape; default 0.5, but at least three runs"},
        {"untuned", OPTION_FLAG, false, &run.untuned, NULL,
         "built-in configurations, whatever clattn tune has found"},
        {"trace", OPTION_TEXT, false, &run.trace, "F.json",
         "with --suite dispatch: what ran when in the serving load, for ui.perfetto.dev"},
        {"json", OPTION_FLAG, false, &run.json, NULL, "print a line of JSON for each shape"},
        {0},
    };
    if (!options_parse(self, rows, argc, argv, NULL, &status))
        return status;
    status = run_bench(&run);
    clattn_context_destroy(run.context);
    bench_list_finish(&run.list);
    free(run.timings);
    return status;
}
