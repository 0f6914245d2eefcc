/* clattn attention: .npy files in, attention on the device, .npy files out. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tool/attention_tensors.h"
#include "tool/commands.h"
#include "tool/json.h"
#include "tool/progress.h"
#include "tool/verify.h"

/* The command line, and what becomes of it. */
typedef struct attention_run {
    option_number scale;
    bool causal, verify, explain, json;
    int align; /* clattn_align */
    const char *device;
    attention_tensors tensors;
    clattn_attention_desc desc;
    clattn_context *context;
    clattn_plan *plan;
    verified verified[VERIFIED_SLOTS];
} attention_run;

/* Options that are no tensors. Rows are copied: they point into `run`. */
static uint32_t fill_rows(attention_run *run, option_row *rows)
{
    const option_row others[] = {
        {"scale", OPTION_NUMBER, false, &run->scale, "X",
         "factor of the scores; default 1 / sqrt(head dimension)"},
        {"causal", OPTION_FLAG, false, &run->causal, NULL, "query i sees keys up to i + offset"},
        {"align", OPTION_CHOICE, false, &run->align, "top-left|bottom-right",
         "offset 0, or keys - queries; needed with --causal unless both are as many"},
        {"device", OPTION_TEXT, false, &run->device, "SELECTOR",
         "cpu, gpu, an index of clattn devices, or a part of a name"},
        {"verify", OPTION_FLAG, false, &run->verify, NULL,
         "compare with double precision; fails beyond the bounds of docs/numerics.md"},
        {"explain", OPTION_FLAG, false, &run->explain, NULL, "say which kernel runs, and why"},
        {"json", OPTION_FLAG, false, &run->json, NULL, "print JSON"},
    };
    uint32_t count = 0;
    for (uint32_t i = 0; tensor_option_get(i); i++) {
        const tensor_option *option = tensor_option_get(i);
        rows[count++] = (option_row){option->name,     OPTION_TEXT,
                                     option->required, &run->tensors.path[option->slot],
                                     "FILE",           option->help};
    }
    memcpy(rows + count, others, sizeof others);
    count += sizeof others / sizeof others[0];
    rows[count] = (option_row){0};
    return count;
}

static int describe_mask(attention_run *run)
{
    const int64_t *extent = run->tensors.extent;
    run->desc.causal = run->causal;
    run->desc.align = (clattn_align)run->align;
    if (!run->causal || run->align)
        return EXIT_RAN;
    if (extent[DIM_N_Q] != extent[DIM_N_KV])
        return usage_error("--align",
                           "is required with --causal, since there are %" PRId64
                           " queries and %" PRId64 " keys",
                           extent[DIM_N_Q], extent[DIM_N_KV]);
    run->desc.align = CLATTN_ALIGN_TOP_LEFT;
    return EXIT_RAN;
}

static int describe(attention_run *run)
{
    clattn_attention_desc *desc = &run->desc;
    const int64_t *extent = run->tensors.extent;
    clattn_attention_desc_init(desc);
    desc->batch = extent[DIM_BATCH];
    desc->n_head = extent[DIM_N_HEAD];
    desc->n_kv_head = extent[DIM_N_KV_HEAD];
    desc->n_q = extent[DIM_N_Q];
    desc->n_kv = extent[DIM_N_KV];
    desc->head_dim = extent[DIM_HEAD_DIM];
    desc->value_dim = extent[DIM_VALUE_DIM];
    for (uint32_t i = 0; tensor_option_get(i); i++) {
        const tensor_option *option = tensor_option_get(i);
        if (!option->required && run->tensors.path[option->slot])
            desc->slots |= CLATTN_SLOT_BIT(option->slot);
    }
    desc->has_scale = run->scale.given;
    desc->scale = (float)run->scale.value;
    if (!isfinite(desc->scale))
        return usage_error("--scale", "%g is beyond float32", run->scale.value);
    return describe_mask(run);
}

/* Sentences of the library begin with the field that is wrong; the option that it came from. */
static int library_failure(void)
{
    static const struct {
        const char *field, *argument;
    } fields[] = {
        {"batch:", "--q"},       {"n_head:", "--q"},    {"n_kv_head:", "--k"},
        {"n_q:", "--q"},         {"n_kv:", "--k"},      {"head_dim:", "--q"},
        {"value_dim:", "--v"},   {"scale:", "--scale"}, {"align:", "--align"},
        {"causal:", "--causal"},
    };
    const char *message = clattn_error_message();
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (strncmp(message, fields[i].field, strlen(fields[i].field)) == 0)
            return failure(fields[i].argument, "%s", message);
    return failure("attention", "%s", message);
}

static int compute(attention_run *run)
{
    clattn_host_binding bindings[TENSOR_OPTIONS_MOST];
    uint32_t count = 0;
    for (uint32_t i = 0; tensor_option_get(i); i++) {
        const clattn_slot slot = tensor_option_get(i)->slot;
        if (run->tensors.path[slot])
            bindings[count++] = (clattn_host_binding){slot, 0, run->tensors.array[slot].data};
    }
    progress *line = progress_start("attention");
    clattn_status status = clattn_plan_attention(run->context, &run->desc, &run->plan);
    if (status == CLATTN_OK)
        status = clattn_run(run->context, &run->desc, bindings, count);
    progress_stop(line);
    return status == CLATTN_OK ? EXIT_RAN : library_failure();
}

static int verify(attention_run *run)
{
    progress *line = progress_start("verifying");
    const bool good = verify_attention(&run->desc, &run->tensors, line, run->verified);
    progress_stop(line);
    if (!good)
        return failure("--verify", "out of memory");
    for (int i = 0; i < VERIFIED_SLOTS; i++) {
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
    for (int i = 0; i < VERIFIED_SLOTS; i++)
        if (run->verified[i].option)
            printf("verified %s: largest error %.2e, allowed %.2e\n", run->verified[i].option->name,
                   run->verified[i].error, run->verified[i].allowed);
}

static int print_json(const attention_run *run)
{
    clattn_plan_info info = {.struct_size = sizeof info};
    cJSON *object = cJSON_CreateObject();
    if (clattn_plan_get_info(run->plan, &info) == CLATTN_OK) {
        cJSON_AddStringToObject(object, "kernel", info.kernel);
        cJSON_AddStringToObject(object, "configuration", info.configuration);
        cJSON_AddNumberToObject(object, "workspace", (double)info.workspace);
        cJSON_AddNumberToObject(object, "plan_seconds", info.plan_seconds);
        cJSON_AddBoolToObject(object, "from_cache", info.from_cache != 0);
    }
    if (run->explain)
        cJSON_AddStringToObject(object, "explain", clattn_explain(run->plan));
    cJSON *array = run->verify ? cJSON_AddArrayToObject(object, "verified") : NULL;
    for (int i = 0; i < VERIFIED_SLOTS; i++) {
        if (!run->verified[i].option)
            continue;
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "tensor", run->verified[i].option->name);
        cJSON_AddNumberToObject(item, "largest_error", run->verified[i].error);
        cJSON_AddNumberToObject(item, "allowed", run->verified[i].allowed);
        cJSON_AddItemToArray(array, item);
    }
    return json_print(object);
}

/* From files to files. */
static int run_attention(attention_run *run)
{
    int status = EXIT_FAILED;
    if (!tensors_read(&run->tensors))
        return EXIT_FAILED;
    status = describe(run);
    if (status != EXIT_RAN)
        return status;
    if (!tensors_prepare_outputs(&run->tensors) ||
        !open_context(run->device, &run->context, &status))
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
    tensors_finish(&run.tensors);
    return status;
}
