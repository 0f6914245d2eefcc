/* Register tiles and blocks of additive attention, by caps alone, and sizes of its memory.
 *
 * A tile is 4 queries by COLS vectors of keys: that many sums, and beside them 4 vectors of keys'
 * exponentials and about 8 numbers on the way to a division. */
#include "kernels/additive_tiles.h"

static const struct {
    uint32_t vec, registers; /* the device has vectors as wide, and as many registers */
    uint32_t cols, block_m, block_n;
} rows[] = {
    {16, 32, 2, 16, 128}, /* AVX-512 */
    {8, 16, 1, 16, 128},  /* AVX2 */
    {4, 32, 2, 16, 128},  /* NEON of 64-bit Arm */
    {4, 16, 1, 16, 128},  /* SSE, and what is not known */
};

/* Keys of a block of the gradients: what they have and get stays in the second cache. */
#define GRADIENT_KEYS 64

void clattn__additive_tiles(const clattn__caps *caps, bool gradient, clattn__config *config)
{
    const uint32_t last = sizeof rows / sizeof rows[0] - 1;
    uint32_t i = 0;
    while (i < last &&
           (rows[i].vec > caps->vector_width || rows[i].registers > caps->vector_registers))
        i++;
    config->vec = rows[i].vec;
    config->cols = rows[i].cols;
    config->block_m = rows[i].block_m;
    config->block_n = gradient ? GRADIENT_KEYS : rows[i].block_n;
    config->group_size = 1;
}

clattn__additive_sizes clattn__additive_sizes_of(const clattn__problem *problem,
                                                 const clattn__config *config)
{
    const int64_t vec = config->vec;
    clattn__additive_sizes of;
    of.channels = CLATTN_ADDITIVE_CHANNELS(problem->extent[CLATTN__HEAD_DIM]);
    of.width = clattn__divide_up(problem->extent[CLATTN__VALUE_DIM], vec) * vec;
    of.query_strip = CLATTN_ADDITIVE_STRIP(of.channels, CLATTN__ADDITIVE_ROWS);
    of.panel = config->cols * vec;
    of.key_strip = CLATTN_ADDITIVE_STRIP(of.channels, of.panel);
    return of;
}

clattn__scratch *clattn__additive_place(clattn__variant *variant, uint32_t tensor, int64_t elements)
{
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    scratch->tensor = tensor;
    scratch->slot = -1;
    scratch->offset = clattn__take_workspace(variant, elements);
    return scratch;
}
