/* clattn tune: searches for faster configurations of the kernels, and shows or forgets what was
 * found. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tool/commands.h"
#include "tool/json.h"
#include "tool/progress.h"

#define MOST_CLASSES 256
#define PERMILLE     1000

/* The command line, and what becomes of it. */
typedef struct tune_run {
    const char *device, *kernel;
    bool quick, show, forget, json;
    option_number seconds;
    progress *line;
    clattn_tune_progress done[MOST_CLASSES]; /* (count) classes that are done */
    uint32_t count;
} tune_run;

static const char *const states[] = {
    [CLATTN_TUNE_TRYING] = "trying",
    [CLATTN_TUNE_BUILT_IN] = "built-in",
    [CLATTN_TUNE_FASTER] = "faster",
    [CLATTN_TUNE_NO_TIME] = "no time",
};

static int library_failure(void)
{
    return failure("tune", "%s", clattn_error_message());
}

/* The file, to be printed. */
static const char *file_name(char *path, size_t capacity)
{
    const bool good = clattn_tuning_path(NULL, path, capacity) == CLATTN_OK && *path;
    return good ? path : "(no folder)";
}

/* ---- searching --------------------------------------------------------------------------------*/

static clattn_status note(void *user, const clattn_tune_progress *now)
{
    tune_run *run = user;
    progress_set(run->line, (int64_t)(now->done * PERMILLE), PERMILLE);
    if (now->state != CLATTN_TUNE_TRYING && run->count < MOST_CLASSES)
        run->done[run->count++] = *now;
    return CLATTN_OK;
}

static uint32_t count_faster(const tune_run *run)
{
    uint32_t faster = 0;
    for (uint32_t i = 0; i < run->count; i++)
        faster += run->done[i].state == CLATTN_TUNE_FASTER;
    return faster;
}

static int report_text(const tune_run *run, const clattn_device_info *info)
{
    char path[4096];
    printf("%s\n\n%-16s  %-14s  %-8s  %7s  %5s  %s\n", info->name, "kernel", "problems", "best",
           "speed", "tried", "configuration");
    for (uint32_t i = 0; i < run->count; i++) {
        const clattn_tune_progress *done = &run->done[i];
        printf("%-16s  %-14s  %-8s  %7.3f  %5u  %s\n", done->kernel, done->problem,
               states[done->state], done->speedup, (unsigned)done->tried, done->configuration);
    }
    printf("\n%u of %u classes of problems have something faster than built in; kept in %s\n",
           (unsigned)count_faster(run), (unsigned)run->count, file_name(path, sizeof path));
    return EXIT_RAN;
}

static int report_json(const tune_run *run, const clattn_device_info *info)
{
    char path[4096];
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "device", info->name);
    cJSON_AddStringToObject(object, "file", file_name(path, sizeof path));
    cJSON *array = cJSON_AddArrayToObject(object, "classes");
    for (uint32_t i = 0; i < run->count; i++) {
        const clattn_tune_progress *done = &run->done[i];
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "kernel", done->kernel);
        cJSON_AddStringToObject(row, "problems", done->problem);
        cJSON_AddStringToObject(row, "best", states[done->state]);
        cJSON_AddStringToObject(row, "configuration", done->configuration);
        cJSON_AddNumberToObject(row, "speedup", done->speedup);
        cJSON_AddNumberToObject(row, "tried", done->tried);
        cJSON_AddItemToArray(array, row);
    }
    return json_print(object);
}

static int search(tune_run *run, clattn_context *context)
{
    clattn_device_info info = {.struct_size = sizeof info};
    clattn_tune_options options;
    clattn_tune_options_init(&options);
    options.quick = run->quick;
    options.seconds = run->seconds.value;
    clattn_context_device_info(context, &info);
    run->line = progress_start("tuning");
    const clattn_status status = clattn_tune(context, &options, note, run);
    progress_stop(run->line);
    if (status != CLATTN_OK)
        return library_failure();
    return run->json ? report_json(run, &info) : report_text(run, &info);
}

static int run_search(tune_run *run)
{
    clattn_context *context;
    int status = check_kernel(run->kernel);
    if (status != EXIT_RAN)
        return status;
    if (run->seconds.given && !(run->seconds.value > 0 && run->seconds.value <= 86400))
        return usage_error("--budget", "is %g, must be above 0 and at most 86400",
                           run->seconds.value);
    if (!open_context(run->device, run->kernel, &context, &status))
        return status;
    status = search(run, context);
    clattn_context_destroy(context);
    return status;
}

/* ---- what the file has ------------------------------------------------------------------------*/

typedef struct listing {
    cJSON *array; /* NULL: text */
    uint32_t count;
} listing;

static clattn_status show_row(void *user, const clattn_tuning_row *row)
{
    listing *list = user;
    list->count++;
    if (!list->array) {
        printf("%-16s  %-14s  %7.3f  %s  (%s, %s, %u units, clattn %s)\n", row->kernel,
               row->problem, row->speedup, row->configuration, row->device, row->driver,
               (unsigned)row->compute_units, row->version);
        return CLATTN_OK;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "kernel", row->kernel);
    cJSON_AddStringToObject(object, "problems", row->problem);
    cJSON_AddStringToObject(object, "configuration", row->configuration);
    cJSON_AddNumberToObject(object, "speedup", row->speedup);
    cJSON_AddStringToObject(object, "device", row->device);
    cJSON_AddStringToObject(object, "driver", row->driver);
    cJSON_AddStringToObject(object, "platform_version", row->platform_version);
    cJSON_AddNumberToObject(object, "compute_units", row->compute_units);
    cJSON_AddStringToObject(object, "version", row->version);
    cJSON_AddItemToArray(list->array, object);
    return CLATTN_OK;
}

static int run_show(const tune_run *run)
{
    char path[4096];
    listing list = {0};
    cJSON *object = run->json ? cJSON_CreateObject() : NULL;
    cJSON_AddStringToObject(object, "file", file_name(path, sizeof path));
    list.array = cJSON_AddArrayToObject(object, "rows");
    if (clattn_tuning_list(NULL, show_row, &list) != CLATTN_OK) {
        cJSON_Delete(object);
        return library_failure();
    }
    if (run->json)
        return json_print(object);
    printf("%u configurations in %s\n", (unsigned)list.count, file_name(path, sizeof path));
    return EXIT_RAN;
}

static int run_forget(const tune_run *run)
{
    char path[4096];
    uint32_t removed = 0;
    if (clattn_tuning_forget(NULL, &removed) != CLATTN_OK)
        return library_failure();
    if (run->json) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddBoolToObject(object, "removed", removed != 0);
        return json_print(object);
    }
    printf("%s %s\n", file_name(path, sizeof path), removed ? "removed" : "does not exist");
    return EXIT_RAN;
}

int command_tune(const command *self, int argc, char **argv)
{
    static tune_run run; /* large, and the tool has one thread */
    int status = EXIT_RAN;
    const option_row rows[] = {
        {"device", OPTION_TEXT, false, &run.device, "SELECTOR", DEVICE_HELP},
        {"kernel", OPTION_TEXT, false, &run.kernel, "NAME", "this kernel and no other"},
        {"quick", OPTION_FLAG, false, &run.quick, NULL,
         "the most important classes of problems, in less than 30 seconds; else it takes up to 5 "
         "minutes"},
        {"budget", OPTION_NUMBER, false, &run.seconds, "SECONDS",
         "the time to end within, roughly; default 240, with --quick 22"},
        {"show", OPTION_FLAG, false, &run.show, NULL, "show what was found before, of all devices"},
        {"forget", OPTION_FLAG, false, &run.forget, NULL,
         "remove the tuning file: all devices use built-in configurations again"},
        {"json", OPTION_FLAG, false, &run.json, NULL, "print JSON"},
        {0},
    };
    if (!options_parse(self, rows, argc, argv, NULL, &status))
        return status;
    if (run.show && run.forget)
        return usage_error("--forget", "can't be used with --show");
    if ((run.show || run.forget) && (run.device || run.kernel || run.quick || run.seconds.given))
        return usage_error(run.show ? "--show" : "--forget", "takes no option besides but --json");
    if (run.show)
        return run_show(&run);
    return run.forget ? run_forget(&run) : run_search(&run);
}
