/* Which kernels of the registry a test of attention is about. A context with the name of a kernel
 * for another operation leaves attention to all others, so that running it tests them once more. */
#ifndef TESTS_FOR_ATTENTION_H
#define TESTS_FOR_ATTENTION_H

#include <stdbool.h>
#include <string.h>

#include <clattn/clattn.h>

#include "tests/shortened.h"

/* Kernels for decoding decline what others take. */
static inline bool is_for_few_queries(const char *kernel)
{
    return strncmp(kernel, "attention_decode", strlen("attention_decode")) == 0;
}

/* Kernels for devices with lanes: PoCL takes ten seconds and more to compile one of them. */
static inline bool is_for_lanes(const char *kernel)
{
    return strstr(kernel, "_tile") != NULL;
}

/* Whether tests that need many programs leave this kernel to others: in short, those for lanes, to
 * the reference cases, to test_kernels.c and to tests of their own. */
static inline bool is_left_out(const char *kernel)
{
    return is_shortened() && is_for_lanes(kernel);
}

/* Whether `kernel`, with whose name the context was made, computes attention, and on this device.
 * One that fails to is for attention, too: the test shall see it. */
static inline bool is_for_attention(clattn_context *context, const char *kernel)
{
    clattn_plan *plan = NULL;
    clattn_plan_info info = {.struct_size = sizeof info};
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.n_q = desc.n_kv = 1;
    desc.head_dim = desc.value_dim = 64; /* at least a vector, which some kernels need */
    const clattn_status status = clattn_plan_attention(context, &desc, &plan);
    if (status == CLATTN_OK)
        (void)clattn_plan_get_info(plan, &info);
    clattn_plan_destroy(plan);
    return status == CLATTN_OK ? strcmp(info.kernel, kernel) == 0
                               : status != CLATTN_ERR_UNSUPPORTED;
}

#endif
