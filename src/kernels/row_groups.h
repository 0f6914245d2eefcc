/* What kernels have in common that go through rows of queries or keys, one after the other. */
#ifndef CLATTN_KERNELS_ROW_GROUPS_H
#define CLATTN_KERNELS_ROW_GROUPS_H

#include "kernels/registry.h"

/* Rows of an item, and of a work-group where work-items are lanes. */
#define CLATTN__ROW_BLOCK 64

/* Elements of a row at a time: VEC. */
uint32_t clattn__row_vector(const clattn__caps *caps);
/* Work-items of a group, a row each: WG_SIZE. */
uint32_t clattn__row_lanes(const clattn__caps *caps);

#endif
