/* The launches that return weights and scores in tiles: weights_tile, and weight_sums_tile for sums
 * over queries. They need the softmax's statistics. It has a file of its own, and a shape of its
 * own, because the programs are the same whatever kernel and value_dim the weights are of. */
#include "kernels/launches.h"
#include "kernels/shape_table.h"

/* Of any device that has a tile for attention, none of which needs less local memory: 10 KiB. A
 * work-item has 32 products, and 32 sums of the mean. */
static const clattn__shape shapes[] = {{64, 64, 8, 1, 1, 32, 64, 16}};

static void choose(const clattn__problem *problem, const clattn__config *all,
                   clattn__config *config)
{
    const uint32_t k = problem->dtype[CLATTN_SLOT_K];
    *config = (clattn__config){0};
    clattn__shape_apply(&shapes[0], config);
    config->full = all->full;
    config->storage = k >= CLATTN_I8 ? k : 0;
    config->score_function = all->score_function;
    config->mask_function = all->mask_function;
}

static void add(const clattn__problem *problem, clattn__variant *variant,
                const clattn__launch_row *row)
{
    clattn__launch_add(variant, row);
    choose(problem, &variant->config, &variant->launch[variant->launch_count - 1].config);
}

/* Blocks of queries; where these are one tile with one list, blocks of keys: no element depends on
 * what else a group does. */
static clattn__tiling tiling_of(const clattn__problem *problem)
{
    const int64_t n_q = problem->extent[CLATTN__N_Q], period = problem->block_q;
    clattn__tiling tiling = {CLATTN__OVER_QUERIES, .block = shapes[0].block_m, .period = period};
    if (n_q <= tiling.block && (period == 0 || n_q <= period))
        tiling = (clattn__tiling){CLATTN__OVER_HEAD_KEYS, .block = shapes[0].block_n};
    tiling.all_heads = clattn__problem_has(problem, CLATTN_SLOT_WEIGHTS_MEAN);
    return tiling;
}

void clattn__add_tile_weights(const clattn__problem *problem, clattn__variant *variant)
{
    if (clattn__returns_weights(problem))
        add(problem, variant,
            &(clattn__launch_row){
                .file = "attention/weights_tile.cl",
                .function = "weights_tile",
                .tiling = tiling_of(problem),
                .options = true,
                .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_STATS,
                            CLATTN_T_WEIGHTS, CLATTN_T_WEIGHTS_MEAN, CLATTN_T_SCORES,
                            CLATTN_T_COUNT},
            });
    if (clattn__problem_has(problem, CLATTN_SLOT_WEIGHTS_SUM))
        add(problem, variant,
            &(clattn__launch_row){
                .file = "attention/weight_sums_tile.cl",
                .function = "weight_sums_tile",
                .tiling = {CLATTN__OVER_HEAD_KEYS, .block = shapes[0].block_n},
                .options = true,
                .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_STATS,
                            CLATTN_T_WEIGHTS_SUM, CLATTN_T_COUNT},
            });
}
