/* The table of kinds, and what their functions share. */
#include "kinds.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const kind kinds[] = {
    {"onnx", run_onnx},         {"attention", run_attention},
    {"ragged", run_ragged},     {"multiplicative", run_multiplicative},
    {"additive", run_additive}, {"multi_head", run_multi_head},
    {"decode", run_decode},     {"top_k", run_top_k},
};

const kind *kind_find(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

result *results_find(const test_case *c, results *r, const char *name)
{
    for (int i = 0; i < c->output_count; i++)
        if (r->output[i].wanted && strcmp(c->output[i].name, name) == 0)
            return &r->output[i];
    return NULL;
}

void results_decline(const test_case *c, results *r, const char *format, ...)
{
    char reason[sizeof r->output[0].reason];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    for (int i = 0; i < c->output_count; i++)
        if (!r->output[i].computed && !r->output[i].reason[0])
            memcpy(r->output[i].reason, reason, sizeof reason);
}

void results_decline_by_library(const test_case *c, results *r)
{
    for (int i = 0; i < c->output_count; i++)
        if (!r->output[i].computed && !r->output[i].reason[0])
            r->output[i].declined = true;
    results_decline(c, r, "%s", clattn_error_message());
}

void results_finish(const test_case *c, results *r)
{
    for (int i = 0; i < c->output_count; i++)
        if (r->output[i].computed)
            npy_free(&r->output[i].array);
    *r = (results){0};
}
