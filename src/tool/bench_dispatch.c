/* See bench_dispatch.h: the rows one after the other, and what is printed of them. */
#include "tool/bench_dispatch.h"

#include <stdio.h>

#include <cjson/cJSON.h>

#include "tool/bench_raw.h"
#include "tool/bench_rows.h"
#include "tool/commands.h"

clattn_status bench_row_context(const bench_dispatcher_run *run, uint32_t parts, bool timed,
                                clattn_context **context)
{
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.device = run->device;
    options.parts = parts;
    if (timed)
        bench_raw_set(&options);
    return clattn_context_create(&options, context);
}

clattn_status bench_row_dispatcher(clattn_context *context, uint32_t lanes, bool direct,
                                   clattn_dispatcher **dispatcher)
{
    clattn_dispatcher_options options;
    clattn_dispatcher_options_init(&options);
    options.lanes = lanes;
    options.direct = direct;
    return clattn_dispatcher_create(context, &options, dispatcher);
}

static int print_row(const bench_row *row, bool json)
{
    if (!json) {
        printf("%-14s", row->name);
        for (int i = 0; i < BENCH_ROW_FIGURES && row->figure[i].key; i++)
            printf("  %s %.6g", row->figure[i].key, row->figure[i].value);
        if (row->fairness > 0)
            printf("  fairness %.3f", row->fairness);
        printf("\n");
        return EXIT_RAN;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "name", row->name);
    for (int i = 0; i < BENCH_ROW_FIGURES && row->figure[i].key; i++)
        cJSON_AddNumberToObject(object, row->figure[i].key, row->figure[i].value);
    char *line = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    if (!line)
        return failure("--json", "out of memory");
    printf("%s\n", line);
    cJSON_free(line);
    return EXIT_RAN;
}

static clattn_status (*const rows[])(const bench_dispatcher_run *, bench_row *) = {
    bench_row_submit,        bench_row_end_to_end, bench_row_plan,      bench_row_batch,
    bench_row_mixed_lengths, bench_row_serving,    bench_row_two_lanes, bench_row_slowed_lane,
};

int bench_dispatch(const char *device, double seconds, bool json, const char *trace)
{
    bench_dispatcher_run run = {.device = device, .seconds = seconds, .trace = trace};
    clattn_status status = bench_row_context(&run, 0, false, &run.context);
    int exit_status = EXIT_RAN;
    if (status != CLATTN_OK)
        return device_failure(device, status);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && exit_status == EXIT_RAN; i++) {
        bench_row row;
        status = rows[i](&run, &row);
        if (status == CLATTN_ERR_UNSUPPORTED && row.left_out[0])
            fprintf(stderr, "clattn: %s: left out: %s\n", row.name, row.left_out);
        else if (status != CLATTN_OK)
            exit_status = failure("bench", "%s: %s", row.name, clattn_error_message());
        else
            exit_status = print_row(&row, json);
        fflush(stdout);
    }
    clattn_context_destroy(run.context);
    return exit_status;
}
