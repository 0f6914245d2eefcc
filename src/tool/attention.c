/* clattn attention and clattn grad: .npy files in, attention or its gradients on the device, .npy
 * files out. */
#include <stdio.h>
#include <string.h>

#include "tool/attention_binding.h"
#include "tool/attention_settings.h"
#include "tool/commands.h"
#include "tool/json.h"
#include "tool/progress.h"
#include "tool/quiet.h"
#include "tool/verify.h"

/* The command line, and what becomes of it. */
typedef struct attention_run {
    bool gradient;
    attention_settings settings;
    bool verify, explain, json;
    const char *device;
    const stored_type *type;
    attention_tensors tensors;
    clattn_attention_desc desc; /* grad: of both passes, with the slots of both */
    clattn_context *context;
    clattn_context *reference; /* of the reference kernel alone; NULL: not needed */
    clattn_plan *plan;
    clattn_plan_info info;
    verified verified[TENSOR_OPTIONS_MOST]; /* by row of the table of tensors */
} attention_run;

/* What the caller's own functions are compared with, as only a device can run them, and draws. */
static const char *reference_kernel(const attention_run *run)
{
    return run->gradient               ? "gradient_reference"
           : run->settings.top_k.given ? "top_k_reference"
                                       : "attention_reference";
}

/* Of clattn grad the output isn't asked for. */
static bool is_required(const attention_run *run, const tensor_option *option)
{
    return tensor_option_is_required(option) && !(run->gradient && option->slot == CLATTN_SLOT_OUT);
}

/* Rows are copied: they point into `run`. */
static void fill_rows(attention_run *run, option_row *rows)
{
    const option_row others[] = {
        {"device", OPTION_TEXT, false, &run->device, "SELECTOR", DEVICE_HELP},
        {"verify", OPTION_FLAG, false, &run->verify, NULL,
         run->gradient ? "compare with double precision; fails beyond the bounds of "
                         "docs/numerics.md; with --score-mod or --mask-mod compare with the "
                         "reference kernel"
                       : "compare with double precision; fails beyond the bounds of "
                         "docs/numerics.md; with --score-mod, --mask-mod or --sample compare with "
                         "the reference kernel"},
        {"explain", OPTION_FLAG, false, &run->explain, NULL, "say which kernel runs, and why"},
        {"json", OPTION_FLAG, false, &run->json, NULL, "print JSON"},
    };
    uint32_t count = 0;
    for (uint32_t row = 0; tensor_option_get(row); row++) {
        const tensor_option *option = tensor_option_get(row);
        if (option->use == (run->gradient ? USE_ATTENTION : USE_GRAD))
            continue;
        rows[count++] = (option_row){
            option->name, OPTION_TEXT, is_required(run, option), &run->tensors.path[row],
            "FILE",       option->help};
    }
    count += settings_fill_rows(&run->settings, run->gradient, rows + count);
    memcpy(rows + count, others, sizeof others);
    rows[count + sizeof others / sizeof others[0]] = (option_row){0};
}

static bool has_functions(const attention_run *run)
{
    return run->desc.score_function || run->desc.mask_function;
}

/* Whether results are compared with those of the reference kernel. */
static bool needs_reference(const attention_run *run)
{
    return has_functions(run) || run->desc.sample;
}

static int library_failure(const attention_run *run, clattn_status status)
{
    const char *message = clattn_error_message();
    return failure(settings_blame(&run->settings, status, message), "%s", message);
}

/* Slots of one of the two passes of grad. */
#define OF_GRADIENT(desc) ((desc)->slots >> CLATTN_SLOT_GRAD_OUT << CLATTN_SLOT_GRAD_OUT)

static clattn_attention_desc forward_of(const attention_run *run)
{
    clattn_attention_desc desc = run->desc;
    desc.slots &= ~OF_GRADIENT(&desc);
    desc.score_gradient = NULL;
    return desc;
}

static clattn_status make_plan(attention_run *run)
{
    run->info.struct_size = sizeof run->info;
    const int saved = has_functions(run) ? quiet_begin() : -1;
    const clattn_status status =
        run->gradient ? clattn_plan_attention_gradient(run->context, &run->desc, &run->plan)
                      : clattn_plan_attention(run->context, &run->desc, &run->plan);
    quiet_end(saved);
    return status == CLATTN_OK ? clattn_plan_get_info(run->plan, &run->info) : status;
}

static clattn_status run_into(attention_run *run, clattn_context *context, npy_array *outputs)
{
    clattn_host_binding bindings[TENSOR_OPTIONS_MOST];
    const uint32_t count = binding_make(&run->tensors, &run->desc, ~UINT64_C(0), outputs, bindings);
    return run->gradient ? clattn_run_gradient(context, &run->desc, bindings, count)
                         : clattn_run(context, &run->desc, bindings, count);
}

/* OUT and LSE, which the gradients need. */
static clattn_status run_forward(attention_run *run)
{
    clattn_host_binding bindings[TENSOR_OPTIONS_MOST];
    const clattn_attention_desc desc = forward_of(run);
    const uint64_t slots = ((uint64_t)1 << CLATTN_SLOT_GRAD_OUT) - 1;
    const uint32_t count = binding_make(&run->tensors, &desc, slots, run->tensors.array, bindings);
    return clattn_run(run->context, &desc, bindings, count);
}

/* On the device, and once more by the reference kernel where that is wanted. */
static clattn_status run_all(attention_run *run)
{
    binding_narrow(&run->tensors, run->type);
    clattn_status status = run->gradient ? run_forward(run) : CLATTN_OK;
    if (status == CLATTN_OK)
        status = run_into(run, run->context, run->tensors.array);
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
           open_context(run->device, reference_kernel(run), &run->reference, &status);
}

static int compute(attention_run *run)
{
    if (run->verify && needs_reference(run) && !prepare_reference(run))
        return EXIT_FAILED;
    progress *line = progress_start(run->gradient ? "gradients" : "attention");
    clattn_status status = make_plan(run);
    const bool alone = run->reference && strcmp(run->info.kernel, reference_kernel(run)) == 0;
    if (status == CLATTN_OK && !alone)
        status = run_all(run);
    progress_stop(line);
    if (status != CLATTN_OK)
        return library_failure(run, status);
    if (alone)
        return failure("--verify",
                       "with --score-mod, --mask-mod or --sample results are compared with those "
                       "of %s, but it is what this device computes with",
                       reference_kernel(run));
    return EXIT_RAN;
}

static int verify(attention_run *run)
{
    const verify_input input = {&run->desc, &run->tensors, run->type};
    bool good = true;
    if (needs_reference(run)) {
        verify_against_second(&input, run->verified);
    } else {
        progress *line = progress_start("verifying");
        good = run->gradient ? verify_gradients(&input, line, run->verified)
                             : verify_attention(&input, line, run->verified);
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
            printf("verified %s%s%s: largest error %.2e, allowed %.2e\n",
                   run->verified[i].option->name, needs_reference(run) ? " against " : "",
                   needs_reference(run) ? reference_kernel(run) : "", run->verified[i].error,
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
                                needs_reference(run) ? reference_kernel(run) : "double precision");
        cJSON_AddItemToArray(array, item);
    }
    return json_print(object);
}

static int check_gradient(attention_run *run)
{
    run->tensors.between = CLATTN_SLOT_BIT(CLATTN_SLOT_OUT) | CLATTN_SLOT_BIT(CLATTN_SLOT_LSE);
    for (uint32_t row = 0; tensor_option_get(row); row++)
        if (!tensor_option_get(row)->read && tensor_option_get(row)->use == USE_GRAD &&
            run->tensors.path[row])
            return EXIT_RAN;
    return usage_error("--dq", "is missing, and so is every other gradient: name at least one of "
                               "--dq, --dk, --dv, --dbias, --dsink, --dpast-k, --dpast-v");
}

/* From files to a description. */
static int describe(attention_run *run)
{
    int status = run->gradient ? check_gradient(run) : EXIT_RAN;
    if (status == EXIT_RAN)
        status = settings_check(&run->settings, &run->tensors);
    if (status != EXIT_RAN)
        return status;
    if (run->verify && run->settings.top_k.given && !run->settings.sample.given &&
        !run->settings.score_path && !run->settings.mask_path)
        run->tensors.between |= CLATTN_SLOT_BIT(CLATTN_SLOT_INDICES);
    if (!tensors_read(&run->tensors))
        return EXIT_FAILED;
    run->type = stored_type_get(run->settings.dtype);
    clattn_attention_desc_init(&run->desc);
    binding_describe(&run->tensors, run->type, &run->desc);
    run->desc.slots &= ~CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_OUT); /* it always takes part */
    /* The gradient of a bias has its shape, and so its strides. */
    run->desc.tensor[CLATTN_SLOT_GRAD_BIAS] = run->desc.tensor[CLATTN_SLOT_BIAS];
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

static int run_command(const command *self, bool gradient, int argc, char **argv)
{
    attention_run run = {.gradient = gradient};
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

int command_attention(const command *self, int argc, char **argv)
{
    return run_command(self, false, argc, argv);
}

int command_grad(const command *self, int argc, char **argv)
{
    return run_command(self, true, argc, argv);
}
