/* What the kernels of additive attention of the simd family share. */
#ifndef CLATTN_KERNELS_ADDITIVE_TILES_H
#define CLATTN_KERNELS_ADDITIVE_TILES_H

#include "kernels/launches.h"

/* Floats of a scratch tensor's parts, in the layout of cl/common/additive.h. */
typedef struct clattn__additive_sizes {
    int64_t channels;    /* padded */
    int64_t width;       /* of a row of values, whole vectors */
    int64_t query_strip; /* ROWS queries */
    int64_t panel;       /* keys of a strip */
    int64_t key_strip;
} clattn__additive_sizes;

/* Queries of a strip: ROWS of cl/common/additive.h. */
#define CLATTN__ADDITIVE_ROWS 4

/* Keys of an item that packs, whole strips. */
#define CLATTN__ADDITIVE_PACK_KEYS 64

/* Sets vec, cols, block_m, block_n and group_size; `gradient`: those of the gradients. */
void clattn__additive_tiles(const clattn__caps *caps, bool gradient, clattn__config *config);

clattn__additive_sizes clattn__additive_sizes_of(const clattn__problem *problem,
                                                 const clattn__config *config);

/* Appends scratch memory for `tensor`: stride by dimension, elements in all. */
clattn__scratch *clattn__additive_place(clattn__variant *variant, uint32_t tensor,
                                        int64_t elements);

#endif
