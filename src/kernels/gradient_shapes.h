/* The tiles of gradients: what a work-group is and how much of a problem it has at a time, from
 * caps alone, and the launches of those for keys and biases. */
#ifndef CLATTN_KERNELS_GRADIENT_SHAPES_H
#define CLATTN_KERNELS_GRADIENT_SHAPES_H

#include "kernels/launches.h"

/* The shape for a problem on a device, into the numbers of `config` that are macros of
 * cl/common/tile.h. False: the device has none for dimensions as large, and a sentence that says so
 * is appended to `reason`, which may be NULL. */
bool clattn__gradient_shape(const clattn__problem *problem, const clattn__caps *caps,
                            clattn__config *config, clattn__text *reason);

void clattn__gradient_configure(const clattn__problem *problem, const clattn__caps *caps,
                                clattn__config *config);

/* The launch of gradient_keys_tile, where keys or values get something. */
void clattn__add_gradient_keys_tile(const clattn__problem *problem, clattn__variant *variant);

/* GRAD_BIAS where it is wanted: memory for its parts, bytes of it at most, and the launches. */
void clattn__place_bias_parts(const clattn__problem *problem, clattn__variant *variant);
double clattn__bias_parts_bound(const clattn__problem *problem);
void clattn__add_gradient_bias_tile(const clattn__problem *problem, clattn__variant *variant);

#endif
