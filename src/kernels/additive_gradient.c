/* Gradients of additive attention for devices whose work-item is a core with vectors: ranges of
 * keys, of which each gives a part of GRAD_Q and of the parameters' gradients. Launches:
 * additive_rows, additive_pack_queries, additive_gradient_simd, gradient_parts, additive_sums. */
#include "kernels/additive_rows.h"
#include "kernels/additive_sums.h"
#include "kernels/additive_tiles.h"
#include "kernels/additive_tuning.h"

extern const clattn__kernel clattn__additive_gradient_simd;

/* Keys of an item, and most items of a head; see gradient_simd.c. A pair costs so much that fewer
 * keys make an item than there. */
#define RANGE_KEYS  64
#define MOST_RANGES 8

static int64_t range_keys(const clattn__problem *problem)
{
    int64_t keys = RANGE_KEYS;
    while (keys * MOST_RANGES < problem->extent[CLATTN__N_KV])
        keys *= 2;
    return keys;
}

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    clattn__additive_tiles(caps, true, config);
    config->range_keys = (uint32_t)range_keys(problem);
}

static clattn__tiling keys_tiling(const clattn__variant *variant)
{
    return (clattn__tiling){CLATTN__OVER_KEYS, .block = variant->config.range_keys};
}

static clattn__tiling queries_tiling(const clattn__variant *variant)
{
    return (clattn__tiling){CLATTN__OVER_QUERIES, .block = variant->config.block_m};
}

/* Blocks of queries: see cl/common/additive_gradient.h. */
static void place_queries(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__additive_sizes of = clattn__additive_sizes_of(problem, &variant->config);
    const int64_t *extent = problem->extent, rows = variant->config.block_m;
    const int64_t block = 2 * of.channels + rows / CLATTN__ADDITIVE_ROWS * of.query_strip +
                          rows * (2 * of.channels + of.width);
    const int64_t head = clattn__divide_up(extent[CLATTN__N_Q], rows) * block;
    clattn__scratch *scratch = clattn__additive_place(
        variant, CLATTN_T_ADDITIVE_ROWS, extent[CLATTN__BATCH] * extent[CLATTN__N_HEAD] * head);
    scratch->stride[2] = block;
    scratch->stride[1] = head;
    scratch->stride[0] = extent[CLATTN__N_HEAD] * head;
}

/* What an item has of a block of keys. */
static void place_items(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__additive_sizes of = clattn__additive_sizes_of(problem, &variant->config);
    const clattn__tiling tiling = keys_tiling(variant);
    const int64_t keys = variant->config.block_n;
    const int64_t item = keys / of.panel * of.key_strip +
                         keys * (3 * of.channels + of.width + problem->extent[CLATTN__VALUE_DIM]);
    clattn__additive_place(variant, CLATTN_T_ADDITIVE_BLOCK,
                           (int64_t)clattn__work_list_count(problem, &tiling) * item)
        ->stride[4] = item;
}

/* Parts of GRAD_Q, as gradient_parts wants them, and of the parameters' gradients. */
static void place_parts(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t *extent = problem->extent, vec = variant->config.vec;
    const int64_t ranges = clattn__divide_up(extent[CLATTN__N_KV], variant->config.range_keys);
    const int64_t width = clattn__divide_up(extent[CLATTN__HEAD_DIM], vec) * vec;
    const int64_t heads = extent[CLATTN__BATCH] * extent[CLATTN__N_HEAD];
    const int64_t range = heads * extent[CLATTN__N_Q] * width;
    clattn__scratch *parts =
        clattn__additive_place(variant, CLATTN_T_GRADIENT_PARTS, ranges * range);
    parts->stride[4] = range;
    parts->stride[2] = width;
    parts->stride[1] = extent[CLATTN__N_Q] * width;
    parts->stride[0] = extent[CLATTN__N_HEAD] * parts->stride[1];
    clattn__place_additive_sums(problem, variant);
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    (void)caps;
    clattn__place_gradient_rows(problem, variant);
    place_queries(problem, variant);
    place_items(problem, variant);
    place_parts(problem, variant);
}

/* An upper bound of the workspace in bytes, in floating point because it must not overflow. */
static double workspace_bound(const clattn__problem *problem)
{
    const int64_t *extent = problem->extent;
    const double heads = (double)extent[CLATTN__BATCH] * (double)extent[CLATTN__N_HEAD];
    const double queries = heads * ((double)extent[CLATTN__N_Q] + 32);
    const double ranges = (double)clattn__divide_up(extent[CLATTN__N_KV], range_keys(problem));
    const double channels = (double)extent[CLATTN__HEAD_DIM] + 48;
    const double values = (double)extent[CLATTN__VALUE_DIM] + 32;
    return 4.0 * (queries * ((5 + ranges) * channels + values) +
                  heads * ranges * RANGE_KEYS * (6 * channels + 2 * values));
}

static bool check(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason)
{
    return clattn__check_simd(caps, reason) &&
           clattn__check_workspace_bound(workspace_bound(problem), caps,
                                         "blocks of queries and keys and parts of GRAD_Q", reason);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__launch_row pack = {
        .file = "additive/additive_pack_queries.cl",
        .function = "additive_pack_queries",
        .tiling = queries_tiling(variant),
        .tensors = {CLATTN_T_Q, CLATTN_T_W_SCORE, CLATTN_T_CHANNEL_BIAS, CLATTN_T_GRAD_OUT,
                    CLATTN_T_ADDITIVE_ROWS, CLATTN_T_Q_LENGTHS, CLATTN_T_COUNT},
    };
    const clattn__launch_row pass = {
        .file = "additive/additive_gradient_simd.cl",
        .function = "additive_gradient_simd",
        .tiling = keys_tiling(variant),
        .options = true,
        .tensors = {CLATTN_T_K, CLATTN_T_V, CLATTN_T_GRADIENT_ROWS, CLATTN_T_ADDITIVE_ROWS,
                    CLATTN_T_ADDITIVE_BLOCK, CLATTN_T_GRADIENT_PARTS, CLATTN_T_ADDITIVE_SUMS,
                    CLATTN_T_GRAD_K, CLATTN_T_GRAD_V, CLATTN_T_COUNT},
    };
    clattn__add_additive_rows(false, variant);
    clattn__launch_add(variant, &pack);
    clattn__launch_add(variant, &pass);
    clattn__add_gradient_parts(problem, variant);
    clattn__add_additive_sums(problem, 1, variant);
}

const clattn__kernel clattn__additive_gradient_simd = {
    .name = "additive_gradient_simd",
    .kind = CLATTN__ADDITIVE_GRADIENT,
    .check = check,
    .configure = configure,
    .workspace = workspace,
    .launches = launches,
    .tunable = &clattn__additive_gradient_tunable,
};
