/* The tiles of linear_tile: what a work-group is and which part of a product of matrices it makes,
 * from the product's size and the device's caps. */
#ifndef CLATTN_KERNELS_LINEAR_SHAPES_H
#define CLATTN_KERNELS_LINEAR_SHAPES_H

#include "kernels/product.h"

/* The shape for a product on a device, into the numbers of `config` that are macros of
 * cl/linear/linear_tile.cl. False: the device has none. */
bool clattn__linear_shape(const clattn__product *product, const clattn__caps *caps,
                          clattn__config *config);

#endif
