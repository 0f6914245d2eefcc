/* The pieces of row_groups.h. */
#include "kernels/row_groups.h"

/* Work-items of a group where they are lanes: four rows at a time. */
#define LANES 64
/* Rows of an item: what begins an item is little beside them. Lanes have fewer, so that there are
 * many groups. */
#define ROWS          64
#define ROWS_OF_LANES 16

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
    return caps->family == CLATTN__TILE && caps->max_work_group >= LANES ? LANES : 1;
}

int64_t clattn__row_block(uint32_t group_size)
{
    return group_size > 1 ? ROWS_OF_LANES : ROWS;
}
