/* See attention_settings.h. Rules are tables; each complaint names the option. */
#include "tool/attention_settings.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tool/text_file.h"

#define FUNCTION_MOST_BYTES (((size_t)1 << 20) - 1)

uint32_t settings_fill_rows(attention_settings *settings, bool grad, option_row *rows)
{
    const option_row both[] = {
        {"scale", OPTION_NUMBER, false, &settings->scale, "X",
         "factor of the scores; default 1 / sqrt(head dimension)"},
        {"softcap", OPTION_NUMBER, false, &settings->softcap, "X",
         "scores become X * tanh(score / X); 0: they don't"},
        {"causal", OPTION_FLAG, false, &settings->causal, NULL,
         "query i sees keys up to i + offset"},
        {"window", OPTION_PAIR, false, &settings->window, "L,R",
         "query i sees keys from i + offset - L to i + offset + R; -1: all"},
        {"align", OPTION_CHOICE, false, &settings->align, "top-left|bottom-right",
         "offset 0, or keys - queries; needed with --causal, --window and --alibi unless both are "
         "as many everywhere"},
        {"score-mod", OPTION_TEXT, false, &settings->score_path, "FILE.cl",
         "OpenCL C: float score(float s, int batch, int head, int q, int k, "
         "__global const float *params)"},
        {"mask-mod", OPTION_TEXT, false, &settings->mask_path, "FILE.cl",
         "int visible(int batch, int head, int q, int k, __global const float *params)"},
        {"dtype", OPTION_CHOICE, false, &settings->dtype, STORED_TYPE_NAMES,
         "how the device stores queries, keys, values and output; default f32"},
        {"dropout", OPTION_NUMBER, false, &settings->dropout, "P",
         "probability that a weight is set to 0, from 0 to below 1"},
        {"seed", OPTION_INTEGER, false, &settings->seed, "N", "of the dropout; default 0"},
    };
    const option_row forward[] = {
        {"top-k", OPTION_INTEGER, false, &settings->top_k, "N",
         "queries attend to the N visible keys of highest score alone"},
        {"sample", OPTION_INTEGER, false, &settings->sample, "SEED",
         "with --top-k: to one of them, drawn by its weight"},
        {"score-stage", OPTION_CHOICE, false, &settings->stage, "scaled|capped|visible|weights",
         "what --scores has: after --scale, after --softcap, after everything with -inf where not "
         "visible, or weights; default scaled"},
    };
    const option_row backward[] = {
        {"score-grad", OPTION_TEXT, false, &settings->gradient_path, "FILE.cl",
         "float score_gradient(float s, int batch, int head, int q, int k, "
         "__global const float *params): the derivative of --score-mod by s"},
    };
    const size_t count = sizeof both / sizeof both[0];
    memcpy(rows, both, sizeof both);
    memcpy(rows + count, grad ? backward : forward, grad ? sizeof backward : sizeof forward);
    return (uint32_t)(count + (grad ? sizeof backward : sizeof forward) / sizeof both[0]);
}

/* Options that need another one, or exclude it. */
static int check_company(const attention_settings *settings, const attention_tensors *tensors)
{
#define GIVEN(name) tensors_is_given(tensors, name)
    const bool ragged = GIVEN("cu-seqlens-q") || GIVEN("cu-seqlens-k");
    const bool functions = settings->score_path || settings->mask_path;
    const bool all = !settings->top_k.given;
    const struct {
        const char *option;
        bool given;
        const char *verb, *other;
        bool good;
    } rules[] = {
        {"--cu-seqlens-q", GIVEN("cu-seqlens-q"), "needs", "--cu-seqlens-k", GIVEN("cu-seqlens-k")},
        {"--cu-seqlens-k", GIVEN("cu-seqlens-k"), "needs", "--cu-seqlens-q", GIVEN("cu-seqlens-q")},
        {"--past-k", GIVEN("past-k"), "needs", "--past-v", GIVEN("past-v")},
        {"--past-v", GIVEN("past-v"), "needs", "--past-k", GIVEN("past-k")},
        {"--params", GIVEN("params"), "needs", "--score-mod or --mask-mod", functions},
        {"--seed", settings->seed.given, "needs", "--dropout", settings->dropout.given},
        {"--score-mod", settings->score_path && tensors->between, "needs", "--score-grad",
         settings->gradient_path},
        {"--score-grad", settings->gradient_path, "needs", "--score-mod", settings->score_path},
        {"--dbias", GIVEN("dbias"), "needs", "--bias", GIVEN("bias")},
        {"--dsink", GIVEN("dsink"), "needs", "--sink", GIVEN("sink")},
        {"--dpast-k", GIVEN("dpast-k"), "needs", "--past-k", GIVEN("past-k")},
        {"--dpast-v", GIVEN("dpast-v"), "needs", "--past-v", GIVEN("past-v")},
        {"--sample", settings->sample.given, "needs", "--top-k", !all},
        {"--indices", GIVEN("indices"), "needs", "--top-k", !all},
        {"--score-stage", settings->stage != 0, "needs", "--scores", GIVEN("scores")},
        {"--q-lengths", GIVEN("q-lengths"), "can't be used with", "--cu-seqlens-q", !ragged},
        {"--kv-lengths", GIVEN("kv-lengths"), "can't be used with", "--cu-seqlens-k", !ragged},
        {"--past-k", GIVEN("past-k"), "can't be used with", "--cu-seqlens-k", !ragged},
        {"--present-k", GIVEN("present-k"), "can't be used with", "--cu-seqlens-k", !ragged},
        {"--present-v", GIVEN("present-v"), "can't be used with", "--cu-seqlens-k", !ragged},
        {"--dropout", settings->dropout.given, "can't be used with", "--top-k", all},
        {"--weights-mean", GIVEN("weights-mean"), "can't be used with", "--top-k", all},
        {"--weights-sum", GIVEN("weights-sum"), "can't be used with", "--top-k", all},
        {"--scores", GIVEN("scores"), "can't be used with", "--top-k", all},
        {"--present-k", GIVEN("present-k"), "can't be used with", "--top-k", all},
        {"--present-v", GIVEN("present-v"), "can't be used with", "--top-k", all},
    };
#undef GIVEN
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (rules[i].given && !rules[i].good)
            return usage_error(rules[i].option, "%s %s", rules[i].verb, rules[i].other);
    return EXIT_RAN;
}

/* Numbers that float32 can't hold, or that have no meaning. */
static int check_numbers(const attention_settings *settings)
{
    const struct {
        const char *option;
        const option_number *number;
        double least, end;
        const char *expected;
    } ranges[] = {
        {"--scale", &settings->scale, -HUGE_VAL, HUGE_VAL, NULL},
        {"--softcap", &settings->softcap, 0, HUGE_VAL, "above 0, or 0 for none"},
        {"--dropout", &settings->dropout, 0, 1, "at least 0 and below 1"},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const double x = ranges[i].number->value;
        const float stored = (float)x;
        if (x < ranges[i].least || x >= ranges[i].end)
            return usage_error(ranges[i].option, "is %g, must be %s", x, ranges[i].expected);
        if (!isfinite(stored) || (double)stored >= ranges[i].end)
            return usage_error(ranges[i].option, "%.17g is beyond float32", x);
    }
    if (settings->softcap.value > 0 && (float)settings->softcap.value == 0)
        return usage_error("--softcap", "%g is 0 in float32", settings->softcap.value);
    if (settings->top_k.given && (settings->top_k.value < 1 || settings->top_k.value > INT32_MAX))
        return usage_error("--top-k", "is %" PRId64 ", must be 1 to %" PRId32,
                           settings->top_k.value, (int32_t)INT32_MAX);
    for (int i = 0; i < 2; i++)
        if (settings->window.value[i] < -1 || settings->window.value[i] > INT32_MAX)
            return usage_error("--window", "%s is %" PRId64 ", must be 0 to %" PRId32 ", or -1",
                               i == 0 ? "L" : "R", settings->window.value[i], (int32_t)INT32_MAX);
    return EXIT_RAN;
}

static int read_function(const char *option, const char *path, char **text)
{
    if (path)
        *text = text_file_read(option, path, FUNCTION_MOST_BYTES);
    return !path || *text ? EXIT_RAN : EXIT_FAILED;
}

/* Behind a comment that begins here; otherwise where it was. */
static const char *skip_comment(const char *at)
{
    const char *mark = strncmp(at, "/*", 2) == 0 ? "*/" : strncmp(at, "//", 2) == 0 ? "\n" : NULL;
    const char *end = mark ? strstr(at + 2, mark) : NULL;
    if (!mark)
        return at;
    return end ? end + strlen(mark) : at + strlen(at);
}

/* Whether a function's text has "params[", as texts that read numbers have. */
static bool reads_params(const char *text)
{
    static const char word[] = "params";
    const size_t size = sizeof word - 1;
    while (*text) {
        const char *behind = skip_comment(text);
        if (behind == text && strncmp(text, word, size) == 0 &&
            text[size + strspn(text + size, " \t")] == '[')
            return true;
        text = behind == text ? text + 1 : behind;
    }
    return false;
}

/* Reading what isn't there would end this program. */
static int check_params(const attention_settings *settings, const attention_tensors *tensors)
{
    const struct {
        const char *option, *path, *text;
    } functions[] = {
        {"--score-mod", settings->score_path, settings->score_text},
        {"--mask-mod", settings->mask_path, settings->mask_text},
    };
    for (int i = 0; i < 2 && !tensors_has(tensors, CLATTN_SLOT_PARAMS); i++)
        if (functions[i].text && reads_params(functions[i].text))
            return usage_error(functions[i].option, "%s: reads params[], so --params is required",
                               functions[i].path);
    return EXIT_RAN;
}

int settings_check(attention_settings *settings, const attention_tensors *tensors)
{
    int status = check_company(settings, tensors);
    if (status == EXIT_RAN)
        status = check_numbers(settings);
    if (status == EXIT_RAN)
        status = read_function("--score-mod", settings->score_path, &settings->score_text);
    if (status == EXIT_RAN)
        status = read_function("--mask-mod", settings->mask_path, &settings->mask_text);
    if (status == EXIT_RAN)
        status = read_function("--score-grad", settings->gradient_path, &settings->gradient_text);
    if (status == EXIT_RAN)
        status = check_params(settings, tensors);
    return status;
}

/* Where queries and keys are as many everywhere, both alignments are the same. */
static int describe_alignment(const attention_settings *settings, const attention_tensors *tensors,
                              clattn_attention_desc *desc)
{
    const int64_t n_q = tensors->extent[DIM_N_Q], n_keys = tensors->extent[DIM_N_KEYS];
    const char *needs = settings->causal                          ? "--causal"
                        : settings->window.given                  ? "--window"
                        : tensors_has(tensors, CLATTN_SLOT_ALIBI) ? "--alibi"
                                                                  : NULL;
    const bool has_lengths =
        tensors_has(tensors, CLATTN_SLOT_Q_LENGTHS) || tensors_has(tensors, CLATTN_SLOT_KV_LENGTHS);
    desc->align = (clattn_align)settings->align;
    if (!needs || settings->align)
        return EXIT_RAN;
    if (has_lengths)
        return usage_error("--align", "is required with %s, since there are lengths", needs);
    if (n_q != n_keys)
        return usage_error("--align",
                           "is required with %s, since there are %" PRId64 " queries and %" PRId64
                           " keys",
                           needs, n_q, n_keys);
    desc->align = CLATTN_ALIGN_TOP_LEFT;
    return EXIT_RAN;
}

int settings_describe(const attention_settings *settings, attention_tensors *tensors,
                      clattn_attention_desc *desc)
{
    desc->has_scale = settings->scale.given;
    desc->scale = (float)settings->scale.value;
    desc->softcap = (float)settings->softcap.value;
    desc->causal = settings->causal;
    desc->has_window = settings->window.given;
    desc->window_left = settings->window.value[0];
    desc->window_right = settings->window.value[1];
    desc->dropout = (float)settings->dropout.value;
    desc->top_k = settings->top_k.value;
    desc->sample = settings->sample.given;
    tensors->extent[DIM_LISTED] = desc->sample ? 1 : desc->top_k;
    tensors->seed[0] = desc->sample ? settings->sample.value : settings->seed.value;
    if (desc->dropout > 0 || desc->sample)
        desc->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_SEED);
    if (settings->stage)
        desc->score_stage = (clattn_score_stage)(settings->stage - 1);
    desc->score_function = settings->score_text;
    desc->mask_function = settings->mask_text;
    desc->score_gradient = settings->gradient_text;
    return describe_alignment(settings, tensors, desc);
}

/* "PAST_K: ..." is about --past-k. */
static bool is_about(const char *message, const char *option)
{
    for (; *option; option++, message++)
        if (*message != (*option == '-' ? '_' : (char)toupper((unsigned char)*option)))
            return false;
    return *message == ':';
}

const char *settings_blame(const attention_settings *settings, clattn_status status,
                           const char *message)
{
    static const struct {
        const char *field, *argument;
    } fields[] = {
        {"batch:", "--q"},
        {"n_head:", "--q"},
        {"n_kv_head:", "--k"},
        {"n_q:", "--q"},
        {"n_kv:", "--k"},
        {"n_past:", "--past-k"},
        {"head_dim:", "--q"},
        {"value_dim:", "--v"},
        {"n_params:", "--params"},
        {"total_q:", "--q"},
        {"total_kv:", "--k"},
        {"score_function:", "--score-mod"},
        {"mask_function:", "--mask-mod"},
        {"score_gradient:", "--score-grad"},
    };
    if (status == CLATTN_ERR_BUILD && settings->score_path)
        return settings->mask_path ? "--score-mod, --mask-mod" : "--score-mod";
    if (status == CLATTN_ERR_BUILD && settings->mask_path)
        return "--mask-mod";
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (strncmp(message, fields[i].field, strlen(fields[i].field)) == 0)
            return fields[i].argument;
    for (uint32_t row = 0; tensor_option_get(row); row++)
        if (is_about(message, tensor_option_get(row)->name))
            return tensor_option_get(row)->argument;
    return "attention";
}

void settings_finish(attention_settings *settings)
{
    free(settings->score_text);
    free(settings->mask_text);
    free(settings->gradient_text);
    *settings = (attention_settings){0};
}
