/* clattn attention: .npy files in, attention on the device, .npy files out. */
#include <stdio.h>
#include <string.h>

#include "tool/attention_binding.h"
#include "tool/attention_settings.h"
#include "tool/commands.h"
#include "tool/json.h"
#include "tool/progress.h"
#include "tool/quiet.h"
#include "tool/verify.h"

/* What the caller's own functions are compared with, as only a device can run them. */
#define REFERENCE_KERNEL "attention_reference"

/* The command line, and what becomes of it. */
typedef struct attention_run {
    attention_settings settings;
    bool verify, explain, json;
    const char *device;
    const stored_type *type;
    attention_tensors tensors;
    clattn_attention_desc desc;
    clattn_context *context;
    clattn_context *reference; /* of the reference kernel alone; NULL: not needed */
    clattn_plan *plan;
    clattn_plan_info info;
    verified verified[TENSOR_OPTIONS_MOST]; /* by row of the table of tensors */
} attention_run;

/* Rows are copied: they point into `run`. */
static void fill_rows(attention_run *run, option_row *rows)
{
    const option_row others[] = {
        {"device", OPTION_TEXT, false, &run->device, "SELECTOR",
         "cpu, gpu, an index of clattn devices, or a part of a name"},
        {"verify", OPTION_FLAG, false, &run->verify, NULL,
         "compare with double precision; fails beyond the bounds of docs/numerics.md; with "
         "--score-mod or --mask-mod compare with the reference kernel"},
        {"explain", OPTION_FLAG, false, &run->explain, NULL, "say which kernel runs, and why"},
        {"json", OPTION_FLAG, false, &run->json, NULL, "print JSON"},
    };
    uint32_t count = 0;
    for (; tensor_option_get(count); count++) {
        const tensor_option *option = tensor_option_get(count);
        rows[count] = (option_row){
            option->name, OPTION_TEXT, tensor_option_is_required(option), &run->tensors.path[count],
            "FILE",       option->help};
    }
    count += settings_fill_rows(&run->settings, rows + count);
    memcpy(rows + count, others, sizeof others);
    rows[count + sizeof others / sizeof others[0]] = (option_row){0};
}

static bool has_functions(const attention_run *run)
{
    return run->desc.score_function || run->desc.mask_function;
}

static int library_failure(const attention_run *run, clattn_status status)
{
    const char *message = clattn_error_message();
    return failure(settings_blame(&run->settings, status, message), "%s", message);
}

static clattn_status make_plan(attention_run *run)
{
    run->info.struct_size = sizeof run->info;
    const int saved = has_functions(run) ? quiet_begin() : -1;
    const clattn_status status = clattn_plan_attention(run->context, &run->desc, &run->plan);
    quiet_end(saved);
    return status == CLATTN_OK ? clattn_plan_get_info(run->plan, &run->info) : status;
}

static clattn_status run_into(attention_run *run, clattn_context *context, npy_array *outputs)
{
    clattn_host_binding bindings[TENSOR_OPTIONS_MOST];
    const uint32_t count = binding_make(&run->tensors, &run->desc, outputs, bindings);
    return clattn_run(context, &run->desc, bindings, count);
}

/* On the device, and once more by the reference kernel where that is wanted. */
static clattn_status run_all(attention_run *run)
{
    binding_narrow(&run->tensors, run->type);
    clattn_status status = run_into(run, run->context, run->tensors.array);
    if (status == CLATTN_OK && run->reference)
        status = run_into(run, run->reference, run->tensors.second);
    binding_widen(&run->tensors, run->type);
    return status;
}

/* Memory and a context for a second computation. */
static bool prepare_reference(attention_run *run)
{
    int status;
    return tensors_prepare_second(&run->tensors) &&
           open_context(run->device, REFERENCE_KERNEL, &run->reference, &status);
}

static int compute(attention_run *run)
{
    if (run->verify && has_functions(run) && !prepare_reference(run))
        return EXIT_FAILED;
    progress *line = progress_start("attention");
    clattn_status status = make_plan(run);
    const bool alone = run->reference && strcmp(run->info.kernel, REFERENCE_KERNEL) == 0;
    if (status == CLATTN_OK && !alone)
        status = run_all(run);
    progress_stop(line);
    if (status != CLATTN_OK)
        return library_failure(run, status);
    if (alone)
        return failure("--verify", "with --score-mod or --mask-mod results are compared with those "
                                   "of " REFERENCE_KERNEL ", but it is what this device computes "
                                   "with");
    return EXIT_RAN;
}

static int verify(attention_run *run)
{
    const verify_input input = {&run->desc, &run->tensors, run->type};
    bool good = true;
    if (has_functions(run)) {
        verify_against_second(&input, run->verified);
    } else {
        progress *line = progress_start("verifying");
        good = verify_attention(&input, line, run->verified);
        progress_stop(line);
    }
    if (!good)
        return failure("--verify", "out of memory");
    for (int i = 0; i < TENSOR_OPTIONS_MOST; i++) {
        const verified *result = &run->verified[i];
        if (result->option && !(result->error <= result->allowed))
            return failure("--verify",
                           "largest error of %s is %.3g, allowed is %.3g; nothing was written",
                           result->option->argument, result->error, result->allowed);
    }
    return EXIT_RAN;
}

static void print_text(const attention_run *run)
{
    if (run->explain)
        printf("%s", clattn_explain(run->plan));
    for (int i = 0; i < TENSOR_OPTIONS_MOST; i++)
        if (run->verified[i].option)
            printf("verified %s%s: largest error %.2e, allowed %.2e\n",
                   run->verified[i].option->name,
                   has_functions(run) ? " against " REFERENCE_KERNEL : "", run->verified[i].error,
                   run->verified[i].allowed);
}

static int print_json(const attention_run *run)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "kernel", run->info.kernel);
    cJSON_AddStringToObject(object, "configuration", run->info.configuration);
    cJSON_AddNumberToObject(object, "workspace", (double)run->info.workspace);
    cJSON_AddNumberToObject(object, "plan_seconds", run->info.plan_seconds);
    cJSON_AddBoolToObject(object, "from_cache", run->info.from_cache != 0);
    if (run->explain)
        cJSON_AddStringToObject(object, "explain", clattn_explain(run->plan));
    cJSON *array = run->verify ? cJSON_AddArrayToObject(object, "verified") : NULL;
    for (int i = 0; i < TENSOR_OPTIONS_MOST; i++) {
        if (!run->verified[i].option)
            continue;
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "tensor", run->verified[i].option->name);
        cJSON_AddNumberToObject(item, "largest_error", run->verified[i].error);
        cJSON_AddNumberToObject(item, "allowed", run->verified[i].allowed);
        cJSON_AddStringToObject(item, "against",
                                has_functions(run) ? REFERENCE_KERNEL : "double precision");
        cJSON_AddItemToArray(array, item);
    }
    return json_print(object);
}

/* From files to a description. */
static int describe(attention_run *run)
{
    int status = settings_check(&run->settings, &run->tensors);
    if (status != EXIT_RAN)
        return status;
    if (run->verify && run->settings.top_k.given)
        return usage_error("--verify", "can't be used with --top-k");
    if (!tensors_read(&run->tensors))
        return EXIT_FAILED;
    run->type = stored_type_get(run->settings.dtype);
    clattn_attention_desc_init(&run->desc);
    binding_describe(&run->tensors, run->type, &run->desc);
    return settings_describe(&run->settings, &run->tensors, &run->desc);
}

/* From files to files. */
static int run_attention(attention_run *run)
{
    int status = describe(run);
    if (status != EXIT_RAN)
        return status;
    if (!tensors_prepare_outputs(&run->tensors) ||
        !open_context(run->device, NULL, &run->context, &status))
        return EXIT_FAILED;
    status = compute(run);
    if (status == EXIT_RAN && run->verify)
        status = verify(run);
    if (status == EXIT_RAN && !tensors_write(&run->tensors))
        status = EXIT_FAILED;
    if (status != EXIT_RAN)
        return status;
    if (run->json)
        return print_json(run);
    print_text(run);
    return EXIT_RAN;
}

int command_attention(const command *self, int argc, char **argv)
{
    attention_run run = {0};
    option_row rows[OPTION_MOST_ROWS + 1];
    int status = EXIT_RAN;
    fill_rows(&run, rows);
    if (!options_parse(self, rows, argc, argv, NULL, &status))
        return status;
    status = run_attention(&run);
    clattn_plan_destroy(run.plan);
    clattn_context_destroy(run.context);
    clattn_context_destroy(run.reference);
    tensors_finish(&run.tensors);
    settings_finish(&run.settings);
    return status;
}
