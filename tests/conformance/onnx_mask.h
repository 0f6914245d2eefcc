/* The mask of ONNX' Attention: booleans that choose, or floats that are added; its last dimension
 * may be shorter than the keys, and the keys behind it are then not visible. */
#ifndef ONNX_MASK_H
#define ONNX_MASK_H

#include <stdbool.h>

#include <clattn/clattn.h>

#include "npy.h"

/* The slot that the mask is, and in *whole (owned by the caller) the mask with its last dimension
 * extended to `keys`. NULL on success, else a sentence. */
const char *onnx_mask_read(const npy_array *mask, int64_t keys, clattn_slot *slot,
                           npy_array *whole);

#endif
