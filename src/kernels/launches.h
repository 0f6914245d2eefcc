/* Building the list of launches of a variant: what kernels of one operation have in common. */
#ifndef CLATTN_KERNELS_LAUNCHES_H
#define CLATTN_KERNELS_LAUNCHES_H

#include "kernels/registry.h"

/* One launch in short form. */
typedef struct clattn__launch_row {
    const char *file;     /* path below cl/ */
    const char *function; /* the __kernel */
    clattn__tiling tiling;
    bool packs;          /* uses VEC and COLS alone of the variant's configuration */
    bool options;        /* OPTION_PARAMETERS of cl/common/score.h follow the tensors */
    uint8_t tensors[16]; /* CLATTN_T_*, in the kernel's order; ends with CLATTN_T_COUNT */
} clattn__launch_row;

/* Appends a launch; base, rows, items, first and count follow in this order. */
void clattn__launch_add(clattn__variant *variant, const clattn__launch_row *row);

/* Parts of a kernel's check: declines devices of other families, and a workspace of up to `bytes`
 * for `what` that is more than the device's largest allocation. */
bool clattn__check_simd(const clattn__caps *caps, clattn__text *reason);
bool clattn__check_workspace_bound(double bytes, const clattn__caps *caps, const char *what,
                                   clattn__text *reason);

/* Whether launches after attention itself need the softmax's statistics. */
bool clattn__needs_stats(const clattn__problem *problem);

/* Scratch memory for them: appends CLATTN_T_STATS to variant->scratch if they are needed. */
void clattn__place_stats(const clattn__problem *problem, clattn__variant *variant);

/* Appends `elements` floats to the workspace, aligned for vectors; their offset in elements. */
uint64_t clattn__take_workspace(clattn__variant *variant, int64_t elements);

/* The launch that normalises and rotates the queries of attention, and where it puts them, if that
 * is asked for: rotary.c. Later launches find them in the place of Q. */
void clattn__add_query_rotation(const clattn__problem *problem, const clattn__caps *caps,
                                clattn__variant *variant);

/* The launch of copy_present, where it is needed. */
void clattn__add_copy_present(const clattn__problem *problem, clattn__variant *variant);

/* What every launch of gradients reads, in the order of GRADIENT_PARAMETERS of
 * cl/common/gradient.h. */
#define CLATTN__GRADIENT_TENSORS                                                                   \
    CLATTN_T_Q, CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_V, CLATTN_T_PAST_V, CLATTN_T_GRAD_OUT,       \
        CLATTN_T_GRADIENT_ROWS

/* Scratch memory for CLATTN_T_GRADIENT_ROWS, and the launch that fills it: gradient_rows.c. */
void clattn__place_gradient_rows(const clattn__problem *problem, clattn__variant *variant);
void clattn__add_gradient_rows(clattn__variant *variant);

/* Something changes scores or weights pair by pair, beyond bounds. */
bool clattn__needs_full(const clattn__problem *problem);

/* Items of GRAD_BIAS: blocks of queries, or where these are summed over, of keys, or whole heads.
 */
clattn__tiling clattn__bias_tiling(const clattn__problem *problem, int64_t queries, int64_t keys);

/* The launch of gradient_parts, which sums CLATTN_T_GRADIENT_PARTS, where GRAD_Q is wanted. */
void clattn__add_gradient_parts(const clattn__problem *problem, clattn__variant *variant);

/* The launch of gradient_bias_reference, where GRAD_BIAS is wanted. */
void clattn__add_gradient_bias(const clattn__problem *problem, clattn__variant *variant);

/* The launch of gradient_sink, where it is needed. */
void clattn__add_gradient_sink(const clattn__problem *problem, clattn__variant *variant);

/* The launches of the reference kernels that return weights, scores and sums of weights, where they
 * are wanted: weights_reference.c. */
void clattn__add_reference_weights(const clattn__problem *problem, clattn__variant *variant);

/* The same in tiles, of kernels for lanes: weights_tile.c. */
void clattn__add_tile_weights(const clattn__problem *problem, clattn__variant *variant);

/* WEIGHTS, WEIGHTS_MEAN or SCORES take part. */
bool clattn__returns_weights(const clattn__problem *problem);

#endif
