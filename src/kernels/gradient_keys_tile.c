/* The launch of gradients of keys and values, a tile of keys a group. It has a file of its own
 * because the program isn't that of queries (rows of its tiles are keys), and ci/check_kernels.py
 * compiles what one file names together. */
#include "kernels/gradient_shapes.h"

void clattn__add_gradient_keys_tile(const clattn__problem *problem, clattn__variant *variant)
{
    static const uint64_t slots =
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_K) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_V) |
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_PAST_K) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_PAST_V);
    const clattn__launch_row row = {
        .file = "gradient/gradient_keys_tile.cl",
        .function = "gradient_keys_tile",
        .tiling = {CLATTN__OVER_KEYS, .block = variant->config.block_m},
        .options = true,
        .tensors = {CLATTN__GRADIENT_TENSORS, CLATTN_T_GRAD_K, CLATTN_T_GRAD_PAST_K,
                    CLATTN_T_GRAD_V, CLATTN_T_GRAD_PAST_V, CLATTN_T_COUNT},
    };
    if (problem->slots & slots)
        clattn__launch_add(variant, &row);
}
