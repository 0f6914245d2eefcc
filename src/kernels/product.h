/* A linear operation as what it is: a product of two matrices, whichever of its tensors they are.
 */
#ifndef CLATTN_KERNELS_PRODUCT_H
#define CLATTN_KERNELS_PRODUCT_H

#include "kernels/registry.h"

/* Strides of one of its tensors, elements. */
typedef struct clattn__matrix {
    clattn_slot slot;
    int64_t batch, piece, row, column; /* of the result; of a factor: row of the result, or column
                                          for the right one, and depth */
} clattn__matrix;

/* result[b, i, j] = sum over pieces p and depth k of left[b, p, i, k] right[b, p, j, k]. */
typedef struct clattn__product {
    int64_t batch, rows, columns, pieces, depth;
    clattn__matrix left, right, result;
    uint32_t flags;    /* CLATTN_P_* */
    bool right_shared; /* the right matrix is the same for all batch entries */
    bool wanted;       /* no: the gradient by b alone is */
} clattn__product;

/* The larger of both factors is the left one, because the right one is packed, unless that is done
 * already; sums are the same either way. Batch entries are one where their rows follow each other.
 * Of CLATTN__LINEAR_PACK the right factor alone. */
void clattn__product_of(const clattn__problem *problem, clattn__product *product);

/* Places CLATTN_T_LEFT, CLATTN_T_RIGHT and CLATTN_T_RESULT. */
void clattn__product_place(const clattn__problem *problem, clattn__variant *variant);

/* Panels of the right factor, CLATTN_T_K_PANELS: PACKED_W, where it takes part, or scratch memory.
 */
void clattn__product_place_panels(const clattn__problem *problem, clattn__variant *variant);

/* The launch that fills them. vec and group_size are the numbers of the configuration that it uses.
 */
void clattn__product_add_pack(const clattn__problem *problem, clattn__variant *variant);

/* The launch that sums dy for the gradient by b, where that is asked for. vec and group_size are
 * the numbers of `config` that it uses. */
void clattn__product_add_sums(const clattn__problem *problem, clattn__variant *variant,
                              const clattn__config *config);

#endif
