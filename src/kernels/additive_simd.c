/* Additive attention for devices whose work-item is a core with vectors: exponentials of rows, a
 * key a lane, online softmax. Launches: additive_pack_keys, additive_simd. */
#include "kernels/additive_tiles.h"
#include "kernels/additive_tuning.h"

extern const clattn__kernel clattn__additive_simd;

static clattn__tiling queries_tiling(const clattn__config *config)
{
    return (clattn__tiling){CLATTN__OVER_QUERIES, .block = config->block_m};
}

/* An upper bound of the workspace in bytes, in floating point because it must not overflow. */
static double workspace_bound(const clattn__problem *problem)
{
    const int64_t *extent = problem->extent;
    const double heads = (double)extent[CLATTN__BATCH] * (double)extent[CLATTN__N_HEAD];
    const double tokens = (double)extent[CLATTN__N_Q] + (double)extent[CLATTN__N_KV] + 128;
    const double channels = (double)extent[CLATTN__HEAD_DIM] + 32;
    return 4.0 * heads * tokens * (4 * channels + (double)extent[CLATTN__VALUE_DIM] + 32);
}

static bool check(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason)
{
    return clattn__check_simd(caps, reason) &&
           clattn__check_workspace_bound(workspace_bound(problem), caps,
                                         "exponentials of queries and keys", reason);
}

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    (void)problem;
    clattn__additive_tiles(caps, false, config);
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    const clattn__additive_sizes of = clattn__additive_sizes_of(problem, &variant->config);
    const int64_t heads = problem->extent[CLATTN__N_HEAD];
    const int64_t n_kv = problem->extent[CLATTN__N_KV], block = variant->config.block_m;
    const int64_t all = problem->extent[CLATTN__BATCH] * heads;
    const int64_t strips = clattn__divide_up(n_kv, of.panel) * of.key_strip;
    const clattn__tiling tiling = queries_tiling(&variant->config);
    const int64_t item =
        2 * of.channels + block / CLATTN__ADDITIVE_ROWS * of.query_strip + block * of.width;
    (void)caps;
    clattn__scratch *keys = clattn__additive_place(variant, CLATTN_T_K_PANELS, all * strips);
    keys->stride[2] = of.key_strip;
    keys->stride[1] = strips;
    keys->stride[0] = heads * strips;
    clattn__scratch *values =
        clattn__additive_place(variant, CLATTN_T_V_ROWS, all * n_kv * of.width);
    values->stride[2] = of.width;
    values->stride[1] = n_kv * of.width;
    values->stride[0] = heads * n_kv * of.width;
    clattn__additive_place(variant, CLATTN_T_ADDITIVE_BLOCK,
                           (int64_t)clattn__work_list_count(problem, &tiling) * item)
        ->stride[4] = item;
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    static const clattn__launch_row pack = {
        .packs = true,
        .file = "additive/additive_pack_keys.cl",
        .function = "additive_pack_keys",
        .tiling = {CLATTN__OVER_KEYS, .block = CLATTN__ADDITIVE_PACK_KEYS},
        .tensors = {CLATTN_T_K, CLATTN_T_V, CLATTN_T_K_PANELS, CLATTN_T_V_ROWS, CLATTN_T_KV_LENGTHS,
                    CLATTN_T_COUNT},
    };
    const clattn__launch_row attend = {
        .file = "additive/additive_simd.cl",
        .function = "additive_simd",
        .tiling = queries_tiling(&variant->config),
        .options = true,
        .tensors = {CLATTN_T_Q, CLATTN_T_W_SCORE, CLATTN_T_CHANNEL_BIAS, CLATTN_T_K_PANELS,
                    CLATTN_T_V_ROWS, CLATTN_T_ADDITIVE_BLOCK, CLATTN_T_OUT, CLATTN_T_LSE,
                    CLATTN_T_WEIGHTS, CLATTN_T_COUNT},
    };
    (void)problem;
    clattn__launch_add(variant, &pack);
    clattn__launch_add(variant, &attend);
}

const clattn__kernel clattn__additive_simd = {
    .name = "additive_simd",
    .kind = CLATTN__ADDITIVE,
    .check = check,
    .configure = configure,
    .workspace = workspace,
    .launches = launches,
    .tunable = &clattn__additive_tunable,
};
