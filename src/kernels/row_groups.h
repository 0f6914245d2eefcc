/* What kernels have in common that go through rows of queries or keys, one after the other. */
#ifndef CLATTN_KERNELS_ROW_GROUPS_H
#define CLATTN_KERNELS_ROW_GROUPS_H

#include "kernels/registry.h"

/* Elements of a row at a time: VEC. */
uint32_t clattn__row_vector(const clattn__caps *caps);
/* Work-items of a group, which share rows as cl/common/row_lanes.h has it: WG_SIZE. */
uint32_t clattn__row_lanes(const clattn__caps *caps);
/* Rows of an item, for groups of so many work-items. */
int64_t clattn__row_block(uint32_t group_size);

#endif
