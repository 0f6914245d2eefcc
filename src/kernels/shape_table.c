#include "kernels/shape_table.h"

void clattn__shape_apply(const clattn__shape *shape, clattn__config *config)
{
    config->vec = 4;
    config->dim_max = shape->dim_max;
    config->group_size = shape->group_size;
    config->rows = shape->rows;
    config->cols = shape->cols;
    config->value_cols = shape->value_cols;
    config->block_m = shape->block_m;
    config->block_n = shape->block_n;
    config->block_k = shape->block_k;
}

bool clattn__shape_find(const clattn__shape_table *of, int64_t dim, uint64_t beside,
                        const clattn__caps *caps, clattn__config *config)
{
    const clattn__shape *shape = of->row, *end = of->row + of->count;
    while (shape < end && (shape->dim_max < dim || shape->group_size > caps->max_work_group ||
                           of->local_memory(shape) + beside > caps->local_memory))
        shape++;
    if (shape == end)
        return false;
    clattn__shape_apply(shape, config);
    return true;
}
