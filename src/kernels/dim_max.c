/* Four classes of head dimension: a program each. */
#include "kernels/dim_max.h"

uint32_t clattn__dim_max(const clattn__problem *problem)
{
    static const uint32_t bounds[] = {64, 128, 256, 576};
    const int64_t head_dim = problem->extent[CLATTN__HEAD_DIM];
    const int64_t value_dim = problem->extent[CLATTN__VALUE_DIM];
    const int64_t larger = head_dim > value_dim ? head_dim : value_dim;
    uint32_t i = 0;
    while (bounds[i] < larger)
        i++;
    return bounds[i];
}
