/* The pieces of row_groups.h. */
#include "kernels/row_groups.h"

uint32_t clattn__row_vector(const clattn__caps *caps)
{
    static const uint32_t widths[] = {16, 8, 4, 1};
    uint32_t i = 0;
    while (widths[i] > 1 && (caps->family != CLATTN__SIMD || widths[i] > caps->vector_width))
        i++;
    return widths[i];
}

uint32_t clattn__row_lanes(const clattn__caps *caps)
{
    const bool lanes = caps->family == CLATTN__TILE && caps->max_work_group >= CLATTN__ROW_BLOCK;
    return lanes ? CLATTN__ROW_BLOCK : 1;
}
