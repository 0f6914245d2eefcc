/* The kernel for devices whose work-item is a core with vectors: keys packed into panels, register
 * tiles, online softmax. Launches: pack_keys, pack_values where rows of V aren't whole vectors,
 * attention_simd, and what returns weights. */
#include <inttypes.h>

#include "kernels/launches.h"
#include "kernels/simd_tiles.h"
#include "kernels/simd_tuning.h"

extern const clattn__kernel clattn__attention_simd;

/* Keys of an item of the packing launches, rounded up to whole panels. */
#define PACK_BLOCK 512

/* Most keys of a problem whose items pack for themselves: a launch less, but each item of a head
 * packs its keys again. */
#define FUSED_KEYS 512

/* Items for each compute unit that a fused launch should have, so that all are busy to the end. */
#define ITEMS_PER_UNIT 2

/* Whether rows of V are whole vectors of float in the caller's memory. */
static bool values_are_rows(const clattn__problem *problem, uint32_t vec)
{
    const int64_t value_dim = problem->extent[CLATTN__VALUE_DIM];
    const int64_t *stride = problem->layout[CLATTN_SLOT_V].stride;
    return problem->dtype[CLATTN_SLOT_V] == CLATTN_F32 &&
           !clattn__problem_has(problem, CLATTN_SLOT_PAST_V) &&
           !clattn__problem_has(problem, CLATTN_SLOT_PAGES) && (stride[3] == 1 || value_dim == 1) &&
           value_dim % vec == 0;
}

/* Register tiles that a block of queries keeps, however many items are wanted. */
#define LEAST_TILES 4

/* Blocks of queries of a head: as few as hold them, but enough for all compute units. */
static int64_t cuts_of(const clattn__problem *problem, const clattn__caps *caps,
                       const clattn__config *config, int64_t n_q)
{
    const int64_t fewest = clattn__divide_up(n_q, config->block_m);
    const int64_t most = clattn__divide_up(n_q, LEAST_TILES * (int64_t)config->rows);
    const double heads =
        (double)problem->extent[CLATTN__BATCH] * (double)problem->extent[CLATTN__N_HEAD];
    const double busy = heads > 0 ? ITEMS_PER_UNIT * (double)caps->compute_units / heads : 1;
    const int64_t wanted = busy < (double)most ? (int64_t)busy : most;
    return wanted > fewest ? wanted : fewest;
}

/* Cuts the queries: blocks of equal size, and, fused, as many of them in one item as leave enough
 * items. What a query gives doesn't depend on it. */
static void cut_queries(const clattn__problem *problem, const clattn__caps *caps,
                        clattn__config *config)
{
    const int64_t n_q = problem->extent[CLATTN__N_Q] > 0 ? problem->extent[CLATTN__N_Q] : 1;
    const int64_t cuts = cuts_of(problem, caps, config, n_q);
    config->block_rows =
        (uint32_t)(clattn__divide_up(clattn__divide_up(n_q, cuts), config->rows) * config->rows);
    config->item_rows = config->block_rows;
    const double all = (double)problem->extent[CLATTN__BATCH] *
                       (double)problem->extent[CLATTN__N_HEAD] * (double)cuts;
    config->fused = problem->extent[CLATTN__N_KV] <= FUSED_KEYS && problem->block_q == 0 &&
                    !clattn__needs_stats(problem);
    if (!config->fused)
        return;
    double together = all / (ITEMS_PER_UNIT * (double)caps->compute_units);
    together = together > (double)cuts ? (double)cuts : together < 1 ? 1 : together;
    config->item_rows *=
        (uint32_t)clattn__divide_up(cuts, clattn__divide_up(cuts, (int64_t)together));
}

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    config->full = clattn__needs_full(problem);
    clattn__simd_tiles(problem, caps, clattn__simd_is_short(problem, config), config);
    config->score_function = clattn__problem_has_score_function(problem);
    config->mask_function = clattn__problem_has_mask_function(problem);
    config->group_size = 1;
}

static int64_t round_up(int64_t value, int64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

/* Keys of all sequences that lie one after the other, each with its past ones. */
static int64_t ragged_rows(const clattn__problem *problem)
{
    const int64_t *extent = problem->extent;
    return extent[CLATTN__TOTAL_KV] + extent[CLATTN__BATCH] * extent[CLATTN__N_PAST];
}

/* Panels of a ragged batch entry begin at panel packed_begin / panel + batch: see pack_keys.cl. */
static void place_keys(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t *extent = problem->extent;
    const bool ragged = clattn__problem_has_ragged_keys(problem);
    const int64_t panel = (int64_t)variant->config.cols * variant->config.vec;
    const int64_t batch = extent[CLATTN__BATCH], heads = extent[CLATTN__N_KV_HEAD];
    const int64_t panels = ragged ? ragged_rows(problem) / panel + batch
                                  : round_up(extent[CLATTN__N_KV], panel) / panel;
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    scratch->tensor = CLATTN_T_K_PANELS;
    scratch->slot = -1;
    scratch->stride[3] = panel;
    scratch->stride[2] = extent[CLATTN__HEAD_DIM] * panel;
    scratch->stride[1] = panels * scratch->stride[2];
    scratch->stride[0] = ragged ? scratch->stride[2] : heads * scratch->stride[1];
    scratch->offset =
        clattn__take_workspace(variant, (ragged ? 1 : batch) * heads * scratch->stride[1]);
}

static void place_values(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t *extent = problem->extent;
    const bool ragged = clattn__problem_has_ragged_keys(problem);
    const int64_t rows = ragged ? ragged_rows(problem) : extent[CLATTN__N_KV];
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    scratch->tensor = CLATTN_T_V_ROWS;
    scratch->slot = CLATTN_SLOT_V;
    if (values_are_rows(problem, variant->config.vec))
        return;
    const int64_t heads = extent[CLATTN__N_KV_HEAD];
    scratch->slot = -1;
    scratch->stride[3] = 1;
    scratch->stride[2] = round_up(extent[CLATTN__VALUE_DIM], variant->config.vec);
    scratch->stride[1] = rows * scratch->stride[2];
    scratch->stride[0] = ragged ? 0 : heads * scratch->stride[1];
    scratch->offset = clattn__take_workspace(variant, (ragged ? 1 : extent[CLATTN__BATCH]) * heads *
                                                          scratch->stride[1]);
}

static clattn__tiling tiling_of(const clattn__problem *problem, const clattn__variant *variant)
{
    return (clattn__tiling){CLATTN__OVER_QUERIES, .block = variant->config.item_rows,
                            .period = problem->block_q};
}

/* Fused: panels and rows of each item beside those of the others, stride[4] apart. */
static void place_own(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t *extent = problem->extent;
    const clattn__tiling tiling = tiling_of(problem, variant);
    const int64_t items = (int64_t)clattn__work_list_count(problem, &tiling);
    const int64_t panel = (int64_t)variant->config.cols * variant->config.vec;
    clattn__scratch *keys = &variant->scratch[variant->scratch_count++];
    clattn__scratch *values = &variant->scratch[variant->scratch_count++];
    keys->tensor = CLATTN_T_K_PANELS;
    keys->slot = -1;
    keys->stride[3] = panel;
    keys->stride[2] = extent[CLATTN__HEAD_DIM] * panel;
    keys->stride[4] = round_up(extent[CLATTN__N_KV], panel) / panel * keys->stride[2];
    keys->offset = clattn__take_workspace(variant, items * keys->stride[4]);
    values->tensor = CLATTN_T_V_ROWS;
    values->slot = CLATTN_SLOT_V;
    if (values_are_rows(problem, variant->config.vec))
        return;
    values->slot = -1;
    values->stride[3] = 1;
    values->stride[2] = round_up(extent[CLATTN__VALUE_DIM], variant->config.vec);
    values->stride[4] = extent[CLATTN__N_KV] * values->stride[2];
    values->offset = clattn__take_workspace(variant, items * values->stride[4]);
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    (void)caps;
    if (variant->config.fused) {
        place_own(problem, variant);
        return;
    }
    place_keys(problem, variant);
    place_values(problem, variant);
    clattn__place_stats(problem, variant);
}

/* An upper bound of the workspace in bytes, in floating point because it must not overflow. */
static double workspace_bound(const clattn__problem *problem)
{
    const int64_t *extent = problem->extent;
    const bool ragged = clattn__problem_has_ragged_keys(problem);
    const double entries = ragged ? 1 : (double)extent[CLATTN__BATCH];
    const double length = (double)(ragged ? ragged_rows(problem) : extent[CLATTN__N_KV]) +
                          64.0 * (ragged ? (double)extent[CLATTN__BATCH] + 1 : 1);
    const double keys = entries * (double)extent[CLATTN__N_KV_HEAD] * length;
    const double rows = clattn__needs_stats(problem)
                            ? (double)extent[CLATTN__BATCH] * (double)extent[CLATTN__N_HEAD] *
                                  (double)extent[CLATTN__N_Q]
                            : 0;
    return 4.0 *
               (keys * ((double)extent[CLATTN__HEAD_DIM] + (double)extent[CLATTN__VALUE_DIM] + 16) +
                2 * rows) +
           256;
}

static bool check(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason)
{
    return clattn__check_simd(caps, reason) &&
           clattn__check_workspace_bound(workspace_bound(problem), caps, "packed keys and values",
                                         reason);
}

static void add_packing(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t panel = (int64_t)variant->config.cols * variant->config.vec;
    const clattn__launch_row keys = {
        .packs = true,
        .file = "attention/pack_keys.cl",
        .function = "pack_keys",
        .tiling = {CLATTN__OVER_KEYS, .block = round_up(PACK_BLOCK, panel)},
        .tensors = {CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_K_PANELS, CLATTN_T_KV_LENGTHS,
                    CLATTN_T_PAGES, CLATTN_T_K_SCALES, CLATTN_T_COUNT},
    };
    static const clattn__launch_row values = {
        .packs = true,
        .file = "attention/pack_values.cl",
        .function = "pack_values",
        .tiling = {CLATTN__OVER_KEYS, .block = PACK_BLOCK},
        .tensors = {CLATTN_T_V, CLATTN_T_PAST_V, CLATTN_T_V_ROWS, CLATTN_T_KV_LENGTHS,
                    CLATTN_T_PAGES, CLATTN_T_V_SCALES, CLATTN_T_COUNT},
    };
    clattn__launch_add(variant, &keys);
    if (!values_are_rows(problem, variant->config.vec))
        clattn__launch_add(variant, &values);
}

static void add_attention(const clattn__problem *problem, clattn__variant *variant)
{
    clattn__launch_add(
        variant, &(clattn__launch_row){
                     .file = "attention/attention_simd.cl",
                     .function = "attention_simd",
                     .tiling = tiling_of(problem, variant),
                     .options = true,
                     .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_V,
                                 CLATTN_T_PAST_V, CLATTN_T_K_PANELS, CLATTN_T_V_ROWS, CLATTN_T_OUT,
                                 CLATTN_T_LSE, CLATTN_T_STATS, CLATTN_T_SINK, CLATTN_T_COUNT},
                 });
}

static void add_weights(const clattn__problem *problem, clattn__variant *variant)
{
    clattn__launch_add(
        variant,
        &(clattn__launch_row){
            .file = "attention/weights_simd.cl",
            .function = "weights_simd",
            .tiling = {CLATTN__OVER_QUERIES, .block = variant->config.block_m,
                       .period = problem->block_q,
                       .all_heads = clattn__problem_has(problem, CLATTN_SLOT_WEIGHTS_MEAN)},
            .options = true,
            .tensors = {CLATTN_T_Q, CLATTN_T_K_PANELS, CLATTN_T_STATS, CLATTN_T_WEIGHTS,
                        CLATTN_T_WEIGHTS_MEAN, CLATTN_T_SCORES, CLATTN_T_COUNT},
        });
}

static void add_weight_sums(clattn__variant *variant)
{
    clattn__launch_add(variant,
                       &(clattn__launch_row){
                           .file = "attention/weight_sums_simd.cl",
                           .function = "weight_sums_simd",
                           .tiling = {CLATTN__OVER_HEAD_KEYS, .block = variant->config.block_n},
                           .options = true,
                           .tensors = {CLATTN_T_Q, CLATTN_T_K_PANELS, CLATTN_T_STATS,
                                       CLATTN_T_WEIGHTS_SUM, CLATTN_T_COUNT},
                       });
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    if (!variant->config.fused)
        add_packing(problem, variant);
    add_attention(problem, variant);
    if (clattn__returns_weights(problem))
        add_weights(problem, variant);
    if (clattn__problem_has(problem, CLATTN_SLOT_WEIGHTS_SUM))
        add_weight_sums(variant);
    clattn__add_copy_present(problem, variant);
}

const clattn__kernel clattn__attention_simd = {
    .name = "attention_simd",
    .kind = CLATTN__ATTENTION,
    .check = check,
    .configure = configure,
    .cut = cut_queries,
    .workspace = workspace,
    .launches = launches,
    .tunable = &clattn__simd_tunable,
    .shares = true,
};
