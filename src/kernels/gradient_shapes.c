/* The table of tiles of gradients, a row for each bound of head_dim and value_dim and size of the
 * device; what the numbers mean is in cl/common/tile.h. One row serves queries and keys: a tile has
 * block_m of them.
 *
 * A work-item of gradient_keys_tile has twice rows * value_cols * 4 sums in registers, and rows *
 * cols * 4 products. A shape doesn't depend on how many queries or keys there are: it decides how
 * slices are cut, and with that how many of them are staged at a time, but the order of sums is
 * that of columns in any case. The last shapes need less than 16 KiB of local memory, the least
 * that a device has. */
#include "kernels/gradient_shapes.h"

#include <inttypes.h>

static const struct {
    uint32_t dim_max;
    uint32_t group_size;
    uint32_t rows, cols, value_cols;
    uint32_t block_m, block_n, block_k;
} shapes[] = {
    {64, 128, 4, 1, 2, 64, 32, 16},  {128, 128, 4, 1, 2, 32, 64, 16},
    {256, 128, 4, 1, 2, 16, 128, 8}, {576, 192, 4, 1, 3, 16, 192, 8},
    {64, 64, 4, 1, 2, 32, 32, 16},   {128, 64, 4, 1, 2, 16, 64, 8},
    {256, 64, 4, 1, 4, 16, 64, 8},
};

enum { SHAPES = sizeof shapes / sizeof shapes[0] };

/* Bytes of GRADIENT_ARRAYS of keys, which are more than those of queries, rounded up as compilers
 * may. */
static uint64_t local_memory(size_t i)
{
    const uint64_t rows = shapes[i].block_m, columns = shapes[i].block_n;
    const uint64_t stage = shapes[i].block_k * (rows + columns + 8);
    const uint64_t pairs = 2 * columns * (rows + 4);
    return 4 * (stage + pairs + 5 * columns) + 16 * (rows + columns) + 96;
}

static int64_t larger_dim(const clattn__problem *problem)
{
    const int64_t of_keys = problem->extent[CLATTN__HEAD_DIM];
    const int64_t of_values = problem->extent[CLATTN__VALUE_DIM];
    return of_keys > of_values ? of_keys : of_values;
}

bool clattn__gradient_shape(const clattn__problem *problem, const clattn__caps *caps,
                            clattn__config *config, clattn__text *reason)
{
    const int64_t dim = larger_dim(problem);
    size_t i = 0;
    while (i < SHAPES && (shapes[i].dim_max < dim || shapes[i].group_size > caps->max_work_group ||
                          local_memory(i) > caps->local_memory))
        i++;
    if (i == SHAPES) {
        if (reason)
            clattn__text_add(reason,
                             "a dimension of %" PRId64 " needs larger groups than of %" PRIu64
                             " work-items, or more local memory than %" PRIu64 " bytes",
                             dim, caps->max_work_group, caps->local_memory);
        return false;
    }
    config->vec = 4;
    config->dim_max = shapes[i].dim_max;
    config->group_size = shapes[i].group_size;
    config->rows = shapes[i].rows;
    config->cols = shapes[i].cols;
    config->value_cols = shapes[i].value_cols;
    config->block_m = shapes[i].block_m;
    config->block_n = shapes[i].block_n;
    config->block_k = shapes[i].block_k;
    return true;
}

void clattn__gradient_configure(const clattn__problem *problem, const clattn__caps *caps,
                                clattn__config *config)
{
    config->full = clattn__needs_full(problem);
    clattn__gradient_shape(problem, caps, config, NULL);
    config->score_function = clattn__problem_has_score_function(problem);
    config->score_gradient = clattn__problem_has_score_gradient(problem);
    config->mask_function = clattn__problem_has_mask_function(problem);
}
