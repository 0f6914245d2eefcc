/* How an array of a case lies in the shape of a slot: checks the array's shape and finds the
 * strides that the library needs. */
#ifndef LAYOUT_H
#define LAYOUT_H

#include "npy.h"
#include "slots.h"

typedef enum layout {
    LAYOUT_PLAIN,     /* the slot's own shape */
    LAYOUT_BROADCAST, /* right-aligned: missing dimensions and extents of 1 are repeated */
    LAYOUT_PACKED,    /* (B, S, H * D) where the slot has (B, H, S, D) */
    LAYOUT_HEADLESS   /* without dimension 1, which has extent 1 */
} layout;

/* Sets the strides (not the type). false: the array's shape is another, and `why` (size bytes)
 * names both. */
bool layout_fit(layout how, const npy_array *array, const slot_shape *shape, clattn_tensor *tensor,
                char *why, size_t size);

#endif
