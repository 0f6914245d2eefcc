/* The kernel for few queries over many keys, on devices whose work-item is a core with vectors:
 * keys and values are read once, from where the caller has them. Launches: attention_decode_simd,
 * which does a split of the keys in a group, and merge_splits. */
#include <inttypes.h>

#include "kernels/decode_tuning.h"
#include "kernels/dim_max.h"
#include "kernels/launches.h"
#include "kernels/splits.h"

extern const clattn__kernel clattn__attention_decode_simd;

/* Most queries a head, and most of all heads that share keys: beyond them arithmetic counts for
 * more than reading the keys once, and not packing them. Where that is depends on how many keys
 * there are (docs/memory.md), but the choice must not: a sequence has the same bits alone and
 * beside a longer one. */
#define MOST_QUERIES 16
#define MOST_ROWS    128

/* Rows that go through a split at once without cascade. */
#define BLOCK 16

static const clattn__decode_tile *tile_of(const clattn__problem *problem, const clattn__caps *caps)
{
    return clattn__decode_tile_of(clattn__decode_queries(problem), caps);
}

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    const clattn__decode_tile *tile = tile_of(problem, caps);
    config->vec = tile->vec;
    config->rows = tile->rows;
    config->value_cols = tile->value_cols;
    config->streams = caps->one_stream ? 1 : 4;
    config->block_m = problem->cascade ? CLATTN__DECODE_CASCADE : BLOCK;
    config->dim_max = clattn__dim_max(problem);
    config->storage = problem->dtype[CLATTN_SLOT_K];
    config->scale_channels = (uint32_t)problem->scale_channels;
    config->score_function = clattn__problem_has_score_function(problem);
    config->mask_function = clattn__problem_has_mask_function(problem);
    config->group_size = 1;
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    (void)caps;
    clattn__place_parts(problem, variant);
}

/* Rows of elements side by side, at least a vector of them. */
static bool has_rows(const clattn__problem *problem, clattn_slot slot)
{
    return !clattn__problem_has(problem, slot) || problem->layout[slot].stride[3] == 1;
}

/* Pieces that are converted at once must be of one group. */
static bool has_whole_groups(const clattn__problem *problem)
{
    const int64_t channels = problem->scale_channels;
    return channels == 0 || (problem->extent[CLATTN__HEAD_DIM] % channels == 0 &&
                             problem->extent[CLATTN__VALUE_DIM] % channels == 0);
}

static bool one_type(const clattn__problem *problem)
{
    static const clattn_slot slots[] = {CLATTN_SLOT_V, CLATTN_SLOT_PAST_K, CLATTN_SLOT_PAST_V};
    for (uint32_t i = 0; i < sizeof slots / sizeof slots[0]; i++)
        if (clattn__problem_has(problem, slots[i]) &&
            problem->dtype[slots[i]] != problem->dtype[CLATTN_SLOT_K])
            return false;
    return true;
}

/* Why not, or NULL; what has numbers in its sentence is left to check(). */
static const char *objection(const clattn__problem *problem, const clattn__caps *caps)
{
    const int64_t *extent = problem->extent;
    const int64_t together =
        clattn__dtype_get((clattn_dtype)problem->dtype[CLATTN_SLOT_K])->elements;
    const int64_t least = together * tile_of(problem, caps)->vec;
    if (clattn__needs_stats(problem))
        return "weights or scores are to be returned";
    if (problem->dropout > 0)
        return "dropout is for training";
    if (problem->block_q)
        return "the keys are listed in blocks";
    if (extent[CLATTN__HEAD_DIM] < least || extent[CLATTN__VALUE_DIM] < least)
        return "head_dim or value_dim is less than what is read at once";
    if (!has_rows(problem, CLATTN_SLOT_K) || !has_rows(problem, CLATTN_SLOT_V) ||
        !has_rows(problem, CLATTN_SLOT_PAST_K) || !has_rows(problem, CLATTN_SLOT_PAST_V))
        return "elements of a key or value are not side by side";
    if (!one_type(problem))
        return "keys and values are of different types";
    if (!has_whole_groups(problem))
        return "head_dim or value_dim is not a multiple of scale_channels";
    return NULL;
}

static bool check(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason)
{
    if (!clattn__check_simd(caps, reason))
        return false;
    const char *why = objection(problem, caps);
    const int64_t n_q = problem->extent[CLATTN__N_Q];
    if (why) {
        clattn__text_add(reason, "%s", why);
        return false;
    }
    if (n_q > MOST_QUERIES || clattn__shared_rows(problem) > MOST_ROWS) {
        clattn__text_add(reason,
                         "%" PRId64 " queries and %" PRId64
                         " of all heads that share keys are more than %d or %d",
                         n_q, clattn__shared_rows(problem), MOST_QUERIES, MOST_ROWS);
        return false;
    }
    return clattn__check_workspace_bound(clattn__parts_bound(problem), caps, "partial results",
                                         reason);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    static const clattn__launch_row decode = {
        .file = "attention/attention_decode_simd.cl",
        .function = "attention_decode_simd",
        .tiling = {CLATTN__OVER_KEYS, .block = CLATTN_SPLIT},
        .options = true,
        .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_V, CLATTN_T_PAST_V,
                    CLATTN_T_PARTS, CLATTN_T_OUT, CLATTN_T_LSE, CLATTN_T_SINK, CLATTN_T_COUNT},
    };
    clattn__launch_add(variant, &decode);
    clattn__add_merge_splits(problem, variant);
    clattn__add_copy_present(problem, variant);
}

const clattn__kernel clattn__attention_decode_simd = {
    .name = "attention_decode_simd",
    .kind = CLATTN__ATTENTION,
    .check = check,
    .configure = configure,
    .workspace = workspace,
    .launches = launches,
    .shares = true,
    .tunable = &clattn__decode_tunable,
};
