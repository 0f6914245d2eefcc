/* The kernel for devices whose work-item is a core with vectors: keys packed into panels, register
 * tiles, online softmax. Launches: pack_keys, pack_values where rows of V aren't whole vectors,
 * attention_simd. */
#include <inttypes.h>

#include "kernels/dim_max.h"
#include "kernels/registry.h"

extern const clattn__kernel clattn__attention_simd;

/* Register tiles that fit the registers, by vector width and number of registers. */
static const struct {
    uint32_t vec, registers;
    uint32_t rows, cols, value_cols;
} tiles[] = {
    {16, 32, 6, 4, 4},
    {8, 16, 6, 2, 2},
    {4, 16, 6, 2, 2},
};

/* Blocks by bound of the dimensions: queries and outputs of a block stay in the second cache. */
static const struct {
    uint32_t dim_max, block_m, block_n;
} blocks[] = {
    {64, 48, 256},
    {128, 48, 256},
    {256, 48, 256},
    {576, 24, 256},
};

/* Keys of an item of the packing launches. */
#define PACK_BLOCK 512

static bool values_are_rows(const clattn__problem *problem, uint32_t vec)
{
    const int64_t value_dim = problem->extent[CLATTN__VALUE_DIM];
    const int64_t *stride = problem->layout[CLATTN_SLOT_V].stride;
    return (stride[3] == 1 || value_dim == 1) && value_dim % vec == 0;
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
    config->cols = tiles[i].cols;
    config->value_cols = tiles[i].value_cols;
    config->dim_max = clattn__dim_max(problem);
    for (i = 0; blocks[i].dim_max != config->dim_max;)
        i++;
    config->block_m = blocks[i].block_m;
    config->block_n = blocks[i].block_n;
    config->full = clattn__problem_has(problem, CLATTN_SLOT_WEIGHTS);
    config->group_size = 1;
}

static int64_t round_up(int64_t value, int64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

static void place_keys(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t *extent = problem->extent;
    const int64_t panel = (int64_t)variant->config.cols * variant->config.vec;
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    scratch->tensor = CLATTN_T_K_PANELS;
    scratch->slot = -1;
    scratch->stride[3] = panel;
    scratch->stride[2] = extent[CLATTN__HEAD_DIM] * panel;
    scratch->stride[1] = round_up(extent[CLATTN__N_KV], panel) * extent[CLATTN__HEAD_DIM];
    scratch->stride[0] = extent[CLATTN__N_KV_HEAD] * scratch->stride[1];
    variant->workspace = sizeof(float) * (uint64_t)(extent[CLATTN__BATCH] * scratch->stride[0]);
}

static void place_values(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t *extent = problem->extent;
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    scratch->tensor = CLATTN_T_V_ROWS;
    scratch->slot = CLATTN_SLOT_V;
    if (values_are_rows(problem, variant->config.vec))
        return;
    scratch->slot = -1;
    scratch->offset = variant->workspace / sizeof(float);
    scratch->stride[3] = 1;
    scratch->stride[2] = round_up(extent[CLATTN__VALUE_DIM], variant->config.vec);
    scratch->stride[1] = extent[CLATTN__N_KV] * scratch->stride[2];
    scratch->stride[0] = extent[CLATTN__N_KV_HEAD] * scratch->stride[1];
    variant->workspace += sizeof(float) * (uint64_t)(extent[CLATTN__BATCH] * scratch->stride[0]);
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    (void)caps;
    place_keys(problem, variant);
    place_values(problem, variant);
}

/* An upper bound of the workspace in bytes, in floating point because it must not overflow. */
static double workspace_bound(const clattn__problem *problem)
{
    const int64_t *extent = problem->extent;
    const double keys = (double)extent[CLATTN__BATCH] * (double)extent[CLATTN__N_KV_HEAD] *
                        ((double)extent[CLATTN__N_KV] + 64.0);
    return 4.0 * keys * ((double)extent[CLATTN__HEAD_DIM] + (double)extent[CLATTN__VALUE_DIM] + 16);
}

static bool check(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason)
{
    if (caps->family != CLATTN__SIMD) {
        clattn__text_add(reason, "the device's work-items are lanes, not cores with vectors");
        return false;
    }
    if (workspace_bound(problem) > (double)caps->max_allocation) {
        clattn__text_add(reason,
                         "packed keys and values need up to %.0f bytes, more than the device's "
                         "largest allocation of %" PRIu64,
                         workspace_bound(problem), caps->max_allocation);
        return false;
    }
    return true;
}

static const clattn__tiling over_keys = {CLATTN__OVER_KEYS, .block = PACK_BLOCK};

static void add_packing(clattn__variant *variant, const char *file, const char *function,
                        uint32_t from, uint32_t to)
{
    variant->file[variant->file_count++] = file;
    variant->launch[variant->launch_count++] = (clattn__launch){
        .function = function,
        .tiling = over_keys,
        .argument_count = 7,
        .argument = {{CLATTN__ARG_TENSOR, from},
                     {CLATTN__ARG_TENSOR, to},
                     {CLATTN__ARG_BASE, 0},
                     {CLATTN__ARG_ROWS, 0},
                     {CLATTN__ARG_ITEMS, 0},
                     {CLATTN__ARG_FIRST, 0},
                     {CLATTN__ARG_COUNT, 0}},
    };
}

static void add_attention(clattn__variant *variant)
{
    variant->file[variant->file_count++] = "attention/attention_simd.cl";
    variant->launch[variant->launch_count++] = (clattn__launch){
        .function = "attention_simd",
        .tiling = {CLATTN__OVER_QUERIES, .block = variant->config.block_m, .empty_rows = true},
        .argument_count = 11,
        .argument = {{CLATTN__ARG_TENSOR, CLATTN_T_Q},
                     {CLATTN__ARG_TENSOR, CLATTN_T_K_PANELS},
                     {CLATTN__ARG_TENSOR, CLATTN_T_V_ROWS},
                     {CLATTN__ARG_TENSOR, CLATTN_T_OUT},
                     {CLATTN__ARG_TENSOR, CLATTN_T_LSE},
                     {CLATTN__ARG_TENSOR, CLATTN_T_WEIGHTS},
                     {CLATTN__ARG_BASE, 0},
                     {CLATTN__ARG_ROWS, 0},
                     {CLATTN__ARG_ITEMS, 0},
                     {CLATTN__ARG_FIRST, 0},
                     {CLATTN__ARG_COUNT, 0}},
    };
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    add_packing(variant, "attention/pack_keys.cl", "pack_keys", CLATTN_T_K, CLATTN_T_K_PANELS);
    if (!values_are_rows(problem, variant->config.vec))
        add_packing(variant, "attention/pack_values.cl", "pack_values", CLATTN_T_V,
                    CLATTN_T_V_ROWS);
    add_attention(variant);
}

const clattn__kernel clattn__attention_simd = {
    .name = "attention_simd",
    .check = check,
    .configure = configure,
    .workspace = workspace,
    .launches = launches,
};
