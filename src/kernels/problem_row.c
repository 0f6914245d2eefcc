/* From a problem and its variant to the row that kernels read. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/launches.h"
#include "kernels/product.h"

_Static_assert(CLATTN__UNLIMITED == CLATTN_UNLIMITED, "one value for host and kernels");
_Static_assert(CLATTN_T_GRAD_CHANNEL_BIAS == (int)CLATTN_SLOT_GRAD_CHANNEL_BIAS,
               "slots have one numbering");
_Static_assert(CLATTN_D_BF16 == (int)CLATTN_BF16, "types have one numbering");
_Static_assert(CLATTN_D_I4 == (int)CLATTN_I4, "types have one numbering");
_Static_assert(CLATTN_T_SHIFTS == (int)CLATTN_SLOT_SHIFTS, "slots have one numbering");
_Static_assert(CLATTN_T_TOKEN_POSITIONS == (int)CLATTN_SLOT_TOKEN_POSITIONS,
               "slots have one numbering");

static uint32_t flags_of_slots(const clattn__problem *problem)
{
    static const struct {
        clattn_slot slot;
        uint32_t flag;
    } table[] = {
        {CLATTN_SLOT_LSE, CLATTN_F_LSE},
        {CLATTN_SLOT_WEIGHTS, CLATTN_F_WEIGHTS},
        {CLATTN_SLOT_MASK, CLATTN_F_MASK},
        {CLATTN_SLOT_BIAS, CLATTN_F_BIAS},
        {CLATTN_SLOT_ALIBI, CLATTN_F_ALIBI},
        {CLATTN_SLOT_SINK, CLATTN_F_SINK},
        {CLATTN_SLOT_Q_LENGTHS, CLATTN_F_Q_LENGTHS},
        {CLATTN_SLOT_KV_LENGTHS, CLATTN_F_KV_LENGTHS},
        {CLATTN_SLOT_BLOCK_INDEX, CLATTN_F_BLOCKS},
        {CLATTN_SLOT_PARAMS, CLATTN_F_PARAMS},
        {CLATTN_SLOT_SEED, CLATTN_F_DROPOUT},
        {CLATTN_SLOT_PRESENT_K, CLATTN_F_PRESENT_K},
        {CLATTN_SLOT_PRESENT_V, CLATTN_F_PRESENT_V},
        {CLATTN_SLOT_WEIGHTS_MEAN, CLATTN_F_WEIGHTS_MEAN},
        {CLATTN_SLOT_WEIGHTS_SUM, CLATTN_F_WEIGHTS_SUM},
        {CLATTN_SLOT_SCORES, CLATTN_F_SCORES},
        {CLATTN_SLOT_INDICES, CLATTN_F_INDICES},
        {CLATTN_SLOT_CHANNEL_BIAS, CLATTN_F_CHANNEL_BIAS},
        {CLATTN_SLOT_RMS_WEIGHT, CLATTN_F_RMS_WEIGHT},
        {CLATTN_SLOT_POSITIONS, CLATTN_F_POSITIONS},
        {CLATTN_SLOT_TOKEN_POSITIONS, CLATTN_F_TOKEN_POSITIONS},
    };
    uint32_t flags = 0;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (clattn__problem_has(problem, table[i].slot))
            flags |= table[i].flag;
    return flags;
}

static uint32_t flags_of(const clattn__problem *problem)
{
    uint32_t flags = flags_of_slots(problem);
    if (problem->ragged)
        flags |= CLATTN_F_RAGGED;
    if (problem->softcap > 0)
        flags |= CLATTN_F_SOFTCAP;
    if (problem->weights_dropped)
        flags |= CLATTN_F_WEIGHTS_DROPPED;
    if (problem->bottom_right)
        flags |= CLATTN_F_BOTTOM_RIGHT;
    if (problem->rms_norm)
        flags |= CLATTN_F_RMS_NORM;
    if (clattn__needs_stats(problem))
        flags |= CLATTN_F_STATS;
    return flags;
}

static uint32_t gradients_of(const clattn__problem *problem)
{
    static const struct {
        clattn_slot slot;
        uint32_t bit;
    } table[] = {
        {CLATTN_SLOT_GRAD_LSE, CLATTN_G_LSE},
        {CLATTN_SLOT_GRAD_K, CLATTN_G_K},
        {CLATTN_SLOT_GRAD_V, CLATTN_G_V},
        {CLATTN_SLOT_GRAD_PAST_K, CLATTN_G_PAST_K},
        {CLATTN_SLOT_GRAD_PAST_V, CLATTN_G_PAST_V},
        {CLATTN_SLOT_GRAD_W_SCORE, CLATTN_G_W_SCORE},
        {CLATTN_SLOT_GRAD_CHANNEL_BIAS, CLATTN_G_CHANNEL_BIAS},
    };
    uint32_t gradients = problem->bias_sums << CLATTN_G_BIAS_SUM;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (clattn__problem_has(problem, table[i].slot))
            gradients |= table[i].bit;
    return gradients;
}

static void fill_tensors(const clattn__problem *problem, const clattn__variant *variant,
                         clattn_problem_row *row)
{
    for (uint32_t slot = 0; slot < CLATTN_T_SLOTS; slot++) {
        memcpy(row->tensor[slot].stride, problem->layout[slot].stride,
               sizeof row->tensor[slot].stride);
        row->dtype[slot] = problem->dtype[slot];
    }
    for (uint32_t i = 0; i < variant->scratch_count; i++) {
        const clattn__scratch *scratch = &variant->scratch[i];
        clattn_tensor_row *tensor = &row->tensor[scratch->tensor];
        const int64_t *stride = scratch->slot >= 0 && !scratch->turned
                                    ? problem->layout[scratch->slot].stride
                                    : scratch->stride;
        memcpy(tensor->stride, stride, sizeof tensor->stride);
        row->dtype[scratch->tensor] =
            scratch->slot >= 0 ? problem->dtype[scratch->slot] : CLATTN_D_F32;
        tensor->offset = scratch->slot >= 0 ? 0 : (int64_t)scratch->offset;
    }
}

static void fill_extents(const clattn__problem *problem, clattn_problem_row *row)
{
    const int64_t *extent = problem->extent;
    row->batch = (int32_t)extent[CLATTN__BATCH];
    row->n_head = (int32_t)extent[CLATTN__N_HEAD];
    row->n_kv_head = (int32_t)extent[CLATTN__N_KV_HEAD];
    row->n_q = (int32_t)extent[CLATTN__N_Q];
    row->n_kv = (int32_t)extent[CLATTN__N_KV];
    row->head_dim = (int32_t)extent[CLATTN__HEAD_DIM];
    row->value_dim = (int32_t)extent[CLATTN__VALUE_DIM];
    row->group = row->n_kv_head ? row->n_head / row->n_kv_head : 1;
    row->n_past = (int32_t)extent[CLATTN__N_PAST];
    row->total_q = (int32_t)extent[CLATTN__TOTAL_Q];
    row->total_kv = (int32_t)extent[CLATTN__TOTAL_KV];
    row->scale_channels = (int32_t)problem->scale_channels;
    row->parts = (int32_t)extent[CLATTN__PARTS];
    row->top_k = (int32_t)extent[CLATTN__TOP];
    row->sample = (int32_t)problem->sample;
    row->cascade = (int32_t)problem->cascade;
    row->n_positions = (int32_t)extent[CLATTN__N_POSITIONS];
    row->n_angles = (int32_t)extent[CLATTN__N_ANGLES];
    row->interleaved = (int32_t)problem->interleaved;
    row->page_size = (int32_t)extent[CLATTN__PAGE_SIZE];
    row->n_pages = (int32_t)extent[CLATTN__N_PAGES];
    row->page_limit = (int32_t)extent[CLATTN__PAGE_LIMIT];
    row->block_q = (int32_t)problem->block_q;
    row->block_kv = (int32_t)problem->block_kv;
    row->block_limit = (int32_t)extent[CLATTN__BLOCK_LIMIT];
}

static void fill_product(const clattn__problem *problem, clattn_problem_row *row)
{
    clattn__product product;
    if (!clattn__problem_is_linear(problem))
        return;
    clattn__product_of(problem, &product);
    row->rows = (int32_t)product.rows;
    row->columns = (int32_t)product.columns;
    row->pieces = (int32_t)product.pieces;
    row->depth = (int32_t)product.depth;
    row->product = product.flags;
    row->n_q = (int32_t)problem->extent[CLATTN__ROWS]; /* of a batch entry, for linear_sums */
}

/* Whether the simd family reads values where the caller has them. */
static bool values_in_place(const clattn__variant *variant)
{
    for (uint32_t i = 0; i < variant->scratch_count; i++)
        if (variant->scratch[i].tensor == CLATTN_T_V_ROWS)
            return variant->scratch[i].slot >= 0;
    return true;
}

void clattn__problem_row_fill(const clattn__problem *problem, const clattn__variant *variant,
                              clattn_problem_row *row)
{
    memset(row, 0, sizeof *row);
    fill_tensors(problem, variant, row);
    fill_extents(problem, row);
    fill_product(problem, row);
    row->offset = problem->offset;
    row->left = problem->left;
    row->right = problem->right;
    row->flags = flags_of(problem);
    row->gradients = gradients_of(problem);
    if (variant->config.fused)
        row->flags |= CLATTN_F_FUSED;
    if (variant->config.fused && !values_in_place(variant))
        row->flags |= CLATTN_F_FUSED_VALUES;
    row->block_rows = (int32_t)variant->config.block_rows;
    row->range_keys = (int32_t)variant->config.range_keys;
    row->key_block = (int32_t)variant->config.key_block;
    row->stage = problem->score_stage;
    row->scale = problem->scale;
    row->rms_epsilon = problem->rms_epsilon;
    row->softcap = problem->softcap;
    /* A denormal softcap's inverse is infinite, and 0 times it would be NaN. */
    row->inverse_softcap = problem->softcap > 0 ? fminf(1.0f / problem->softcap, FLT_MAX) : 0;
    row->kept = (float)(1.0 / (1.0 - (double)problem->dropout));
    row->drop_below = (uint32_t)floor((double)problem->dropout * 4294967296.0);
}
