/* The launch of gradients of keys, values and parameters of additive attention, a tile of keys a
 * group. It has a file of its own for the reason that gradient_keys_tile.c has. */
#include "kernels/additive_shapes.h"

void clattn__add_additive_keys_tile(const clattn__problem *problem, clattn__variant *variant)
{
    static const uint64_t slots =
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_K) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_V) |
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_W_SCORE) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_CHANNEL_BIAS);
    const clattn__launch_row row = {
        .file = "additive/additive_keys_tile.cl",
        .function = "additive_keys_tile",
        .tiling = {CLATTN__OVER_KEYS, .block = variant->config.block_m},
        .options = true,
        .tensors = {CLATTN__ADDITIVE_GRADIENT_TENSORS, CLATTN_T_GRADIENT_ROWS,
                    CLATTN_T_ADDITIVE_BLOCK, CLATTN_T_ADDITIVE_SUMS, CLATTN_T_GRAD_K,
                    CLATTN_T_GRAD_V, CLATTN_T_COUNT},
    };
    if (problem->slots & slots)
        clattn__launch_add(variant, &row);
}
