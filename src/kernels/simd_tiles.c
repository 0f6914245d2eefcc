/* The table of register tiles and blocks of the simd family, a row for each width of vectors,
 * number of registers and bound of the dimensions.
 *
 * A tile's sums, a row of keys and a query's element should fit the registers: rows * cols + cols +
 * 1 of them; rows * cols should be 8 or more, to hide the latency of 4 cycles on 2 pipes. 6 x 4 is
 * nearest to a square in 32 registers and so loads least for each multiply-add, as 6 x 2 is in 16.
 * Panels of 64 keys reach far beyond the last of few keys, and setting up and storing sums counts
 * for more there: 8 x 2 has 16 sums, still enough to hide the latency, and panels of 32.
 * Queries, scores and results of a block of BLOCK_M (DIM_MAX, BLOCK_N, DIM_MAX floats each) stay in
 * the second cache, of which a core has 256 KiB at least; a panel of keys and the rows of a tile
 * stay in the first. */
#include "kernels/simd_tiles.h"

#include "kernels/dim_max.h"

static const struct {
    uint32_t vec, registers; /* the device has vectors as wide, and as many registers */
    uint32_t dim_max;
    uint32_t narrow; /* 1: for few keys */
    uint32_t rows, cols, value_cols;
    uint32_t block_m, block_n;
} rows[] = {
    {16, 32, 64, 1, 8, 2, 2, 48, 256}, /* AVX-512 */
    {16, 32, 128, 1, 8, 2, 2, 48, 256},
    {16, 32, 256, 1, 8, 2, 2, 48, 256},
    {16, 32, 576, 1, 8, 2, 2, 24, 256},
    {16, 32, 64, 0, 6, 4, 4, 48, 256},
    {16, 32, 128, 0, 6, 4, 4, 48, 256},
    {16, 32, 256, 0, 6, 4, 4, 48, 256},
    {16, 32, 576, 0, 6, 4, 4, 24, 256},
    {8, 16, 64, 0, 6, 2, 2, 96, 256}, /* AVX2 */
    {8, 16, 128, 0, 6, 2, 2, 96, 256},
    {8, 16, 256, 0, 6, 2, 2, 48, 256},
    {8, 16, 576, 0, 6, 2, 2, 24, 256},
    {4, 32, 64, 0, 6, 4, 4, 48, 256}, /* NEON of 64-bit Arm */
    {4, 32, 128, 0, 6, 4, 4, 48, 256},
    {4, 32, 256, 0, 6, 4, 4, 48, 256},
    {4, 32, 576, 0, 6, 4, 4, 24, 256},
    {4, 16, 64, 0, 6, 2, 2, 48, 256}, /* SSE, and what is not known */
    {4, 16, 128, 0, 6, 2, 2, 48, 256},
    {4, 16, 256, 0, 6, 2, 2, 48, 256},
    {4, 16, 576, 0, 6, 2, 2, 24, 256},
};

void clattn__simd_tiles(const clattn__problem *problem, const clattn__caps *caps, bool narrow,
                        clattn__config *config)
{
    const uint32_t last = sizeof rows / sizeof rows[0] - 1;
    const uint32_t dim_max = clattn__dim_max(problem);
    uint32_t i = 0;
    while (i < last &&
           (rows[i].dim_max != dim_max || rows[i].narrow > narrow ||
            rows[i].vec > caps->vector_width || rows[i].registers > caps->vector_registers))
        i++;
    while (rows[i].dim_max != dim_max) /* narrower vectors than any row has */
        i--;
    config->vec = rows[i].vec;
    config->rows = rows[i].rows;
    config->cols = rows[i].cols;
    config->value_cols = rows[i].value_cols;
    config->dim_max = dim_max;
    config->block_m = rows[i].block_m;
    config->block_n = rows[i].block_n;
}
