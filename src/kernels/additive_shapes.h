/* The tiles of gradients of additive attention: what a work-group is and how much of a problem it
 * has at a time, from caps alone, and the launch of those for keys. */
#ifndef CLATTN_KERNELS_ADDITIVE_SHAPES_H
#define CLATTN_KERNELS_ADDITIVE_SHAPES_H

#include "kernels/launches.h"

/* The shape for a device, into the numbers of `config` that are macros of cl/common/tile.h, and
 * range_keys. False: the device has none, and a sentence that says so is appended to `reason`,
 * which may be NULL. */
bool clattn__additive_shape(const clattn__caps *caps, clattn__config *config, clattn__text *reason);

void clattn__additive_shape_configure(const clattn__problem *problem, const clattn__caps *caps,
                                      clattn__config *config);

/* What every launch of tiles reads, in the order of ADDITIVE_GRADIENT_PARAMETERS of
 * cl/common/tile_additive_gradient.h. */
#define CLATTN__ADDITIVE_GRADIENT_TENSORS                                                          \
    CLATTN_T_Q, CLATTN_T_K, CLATTN_T_W_SCORE, CLATTN_T_CHANNEL_BIAS, CLATTN_T_V, CLATTN_T_GRAD_OUT

/* The launch of additive_keys_tile, where keys, values or parameters get something. */
void clattn__add_additive_keys_tile(const clattn__problem *problem, clattn__variant *variant);

#endif
