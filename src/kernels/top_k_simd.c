/* Attention to the keys of highest score on devices whose work-item is a core with vectors.
 * Launches: top_k_simd, which finds candidates, of few queries in ranges of the keys, and
 * top_k_values, which chooses among them. */
#include <inttypes.h>

#include "kernels/dim_max.h"
#include "kernels/launches.h"

extern const clattn__kernel clattn__top_k_simd;

/* Register tiles that fit the registers, beside a square of vectors. */
static const struct {
    uint32_t vec, registers, rows;
} tiles[] = {{16, 32, 8}, {8, 16, 4}, {4, 16, 8}};

/* With few queries an item is a range of keys for all that share them. */
#define FEW_ROWS   64
#define RANGE_KEYS 4096

/* Queries of an item of top_k_values. */
#define VALUE_QUERIES 8

/* Candidates of a list beyond those that count: cutting it is worth the while. */
#define SPARE 64

static bool shares_keys(const clattn__problem *problem)
{
    const int64_t *extent = problem->extent;
    return extent[CLATTN__N_HEAD] / extent[CLATTN__N_KV_HEAD] * extent[CLATTN__N_Q] <= FEW_ROWS;
}

static int64_t ranges_of(const clattn__problem *problem)
{
    const int64_t n_kv = problem->extent[CLATTN__N_KV];
    return shares_keys(problem) && n_kv > 0 ? clattn__divide_up(n_kv, RANGE_KEYS) : 1;
}

/* Floats of a list: its length, and candidates of two each. */
static int64_t list_elements(const clattn__problem *problem)
{
    const int64_t top = problem->extent[CLATTN__TOP], n_kv = problem->extent[CLATTN__N_KV];
    return 2 + 2 * (2 * (top < n_kv ? top : n_kv) + SPARE);
}

static bool check(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason)
{
    const int64_t *extent = problem->extent;
    if (!clattn__check_simd(caps, reason))
        return false;
    if (problem->block_q) {
        clattn__text_add(reason, "the keys are listed in blocks");
        return false;
    }
    return clattn__check_workspace_bound(
        4.0 * (double)extent[CLATTN__BATCH] * (double)extent[CLATTN__N_HEAD] *
            (double)extent[CLATTN__N_Q] * (double)ranges_of(problem) *
            (double)list_elements(problem),
        caps, "the lists of keys", reason);
}

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    const uint32_t last = sizeof tiles / sizeof tiles[0] - 1;
    uint32_t i = 0;
    while (i < last &&
           (tiles[i].vec > caps->vector_width || tiles[i].registers > caps->vector_registers))
        i++;
    config->vec = tiles[i].vec;
    config->rows = tiles[i].rows;
    config->dim_max = clattn__dim_max(problem);
    config->group_size = 1;
    config->range_keys = RANGE_KEYS;
    config->score_function = clattn__problem_has_score_function(problem);
    config->mask_function = clattn__problem_has_mask_function(problem);
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    const int64_t *extent = problem->extent;
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    (void)caps;
    scratch->tensor = CLATTN_T_TOP;
    scratch->slot = -1;
    scratch->stride[4] = 1;
    scratch->stride[3] = list_elements(problem);
    scratch->stride[2] = ranges_of(problem) * scratch->stride[3];
    scratch->stride[1] = extent[CLATTN__N_Q] * scratch->stride[2];
    scratch->stride[0] = extent[CLATTN__N_HEAD] * scratch->stride[1];
    scratch->offset = clattn__take_workspace(variant, extent[CLATTN__BATCH] * scratch->stride[0]);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__tiling keys = {CLATTN__OVER_KEYS, .block = RANGE_KEYS};
    const clattn__tiling queries = {CLATTN__OVER_QUERIES, .block = variant->config.rows};
    static const clattn__launch_row values = {
        .file = "attention/top_k_values.cl",
        .function = "top_k_values",
        .tiling = {CLATTN__OVER_QUERIES, .block = VALUE_QUERIES},
        .options = true,
        .tensors = {CLATTN_T_V, CLATTN_T_PAST_V, CLATTN_T_OUT, CLATTN_T_LSE, CLATTN_T_WEIGHTS,
                    CLATTN_T_INDICES, CLATTN_T_TOP, CLATTN_T_SINK, CLATTN_T_COUNT},
    };
    clattn__launch_row search = {
        .file = "attention/top_k_simd.cl",
        .function = "top_k_simd",
        .tiling = shares_keys(problem) ? keys : queries,
        .options = true,
        .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_TOP, CLATTN_T_COUNT},
    };
    clattn__launch_add(variant, &search);
    clattn__launch_add(variant, &values);
}

const clattn__kernel clattn__top_k_simd = {
    .name = "top_k_simd",
    .kind = CLATTN__TOP_K,
    .check = check,
    .configure = configure,
    .workspace = workspace,
    .launches = launches,
};
