/* The numbers of the tile family that become macros: what a work-group is and how much of a problem
 * it has at a time, from caps alone. */
#ifndef CLATTN_KERNELS_TILE_SHAPES_H
#define CLATTN_KERNELS_TILE_SHAPES_H

#include "kernels/registry.h"

/* The shape for a problem on a device, into the numbers of `config` that are macros of
 * cl/common/tile.h. False: the device has one for no value_dim as large, and a sentence that says
 * so is appended to `reason`, which may be NULL. */
bool clattn__tile_shape(const clattn__problem *problem, const clattn__caps *caps,
                        clattn__config *config, clattn__text *reason);

/* The same for this value_dim and a kernel with `beside` bytes of local memory more. */
bool clattn__tile_of_values(int64_t value_dim, uint64_t beside, const clattn__caps *caps,
                            clattn__config *config);

/* configure() of the kernels of the family, which have accepted the problem. */
void clattn__tile_configure(const clattn__problem *problem, const clattn__caps *caps,
                            clattn__config *config);

#endif
