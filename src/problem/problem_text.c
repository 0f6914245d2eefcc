/* A problem in words. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "problem/problem.h"

/* A text that is cut where it doesn't fit. */
typedef struct writer {
    char *text;
    size_t size, capacity;
} writer;

static void add(writer *to, const char *format, ...) CLATTN__PRINTF(2, 3);
static void add(writer *to, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(to->text + to->size, to->capacity - to->size, format, arguments);
    va_end(arguments);
    if (size > 0)
        to->size += (size_t)size;
    if (to->size >= to->capacity)
        to->size = to->capacity - 1;
}

static void add_linear(writer *to, const clattn__problem *problem)
{
    const int64_t *extent = problem->extent;
    add(to, "batch=%" PRId64 " rows=%" PRId64 " in=%" PRId64 " out=%" PRId64, extent[CLATTN__BATCH],
        extent[CLATTN__ROWS], extent[CLATTN__IN], extent[CLATTN__OUT]);
    if (problem->accumulate)
        add(to, " accumulate");
}

static void add_extents(writer *to, const clattn__problem *problem)
{
    const int64_t *extent = problem->extent;
    if (clattn__problem_is_linear(problem)) {
        add_linear(to, problem);
        return;
    }
    if (problem->kind == CLATTN__MERGE)
        add(to, "parts=%" PRId64 " ", extent[CLATTN__PARTS]);
    add(to, "batch=%" PRId64 " n_head=%" PRId64, extent[CLATTN__BATCH], extent[CLATTN__N_HEAD]);
    if (problem->kind != CLATTN__MERGE)
        add(to, " n_kv_head=%" PRId64, extent[CLATTN__N_KV_HEAD]);
    add(to, " n_q=%" PRId64, extent[CLATTN__N_Q]);
    if (extent[CLATTN__N_PAST])
        add(to, " n_past=%" PRId64, extent[CLATTN__N_PAST]);
    if (problem->kind != CLATTN__MERGE)
        add(to, " n_kv=%" PRId64 " head_dim=%" PRId64, extent[CLATTN__N_NEW],
            extent[CLATTN__HEAD_DIM]);
    add(to, " value_dim=%" PRId64, extent[CLATTN__VALUE_DIM]);
    if (clattn__problem_has_ragged_keys(problem))
        add(to, " ragged(%" PRId64 ", %" PRId64 ")", extent[CLATTN__TOTAL_Q],
            extent[CLATTN__TOTAL_KV]);
    else if (problem->ragged)
        add(to, " ragged(%" PRId64 ")", extent[CLATTN__TOTAL_Q]);
}

static void add_bounds(writer *to, const clattn__problem *problem)
{
    if (problem->causal)
        add(to, " causal");
    if (problem->left != CLATTN__UNLIMITED)
        add(to, " left=%" PRId64, problem->left);
    if (problem->right != CLATTN__UNLIMITED && !problem->causal)
        add(to, " right=%" PRId64, problem->right);
    if (problem->bottom_right)
        add(to, " bottom-right");
    if (problem->offset)
        add(to, " offset=%" PRId64, problem->offset);
}

/* Of queries or keys, before anything else. */
static void add_rotation(writer *to, const clattn__problem *problem)
{
    if (problem->rms_norm)
        add(to, " rms_norm(%g)", (double)problem->rms_epsilon);
    if (problem->extent[CLATTN__N_ANGLES])
        add(to, " rotary_dim=%" PRId64 "%s", 2 * problem->extent[CLATTN__N_ANGLES],
            problem->interleaved ? " interleaved" : "");
}

/* Optional slots, and types other than f32. */
static void add_slots(writer *to, const clattn__problem *problem)
{
    for (uint32_t slot = 0; slot < clattn__slot_count(); slot++) {
        const clattn__slot_info *info = clattn__slot_get(slot);
        const bool optional = info->part[problem->kind] == CLATTN__IF_ASKED;
        const bool single = (info->dtypes & (info->dtypes - 1)) == 0;
        const bool plain = single || problem->dtype[slot] == CLATTN_F32;
        if (!clattn__problem_has(problem, info->slot) || (!optional && plain))
            continue;
        add(to, " %s", info->name);
        if (!plain)
            add(to, ":%s", clattn__dtype_get((clattn_dtype)problem->dtype[slot])->name);
    }
}

void clattn__problem_describe(const clattn__problem *problem, char *text, size_t capacity)
{
    writer to = {.text = text, .capacity = capacity};
    text[0] = 0;
    add_extents(&to, problem);
    if (problem->kind == CLATTN__ATTENTION || problem->kind == CLATTN__GRADIENT ||
        problem->kind == CLATTN__TOP_K)
        add(&to, " scale=%.9g", (double)problem->scale);
    if (problem->softcap > 0)
        add(&to, " softcap=%g", (double)problem->softcap);
    if (problem->dropout > 0)
        add(&to, " dropout=%g", (double)problem->dropout);
    add_bounds(&to, problem);
    add_rotation(&to, problem);
    if (clattn__problem_has_score_function(problem))
        add(&to, " score_function");
    if (clattn__problem_has_mask_function(problem))
        add(&to, " mask_function");
    add_slots(&to, problem);
}
