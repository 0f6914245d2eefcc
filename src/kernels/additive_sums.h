/* The launch that both kernels for gradients of additive attention which have parts of the
 * parameters' gradients end with. */
#ifndef CLATTN_KERNELS_ADDITIVE_SUMS_H
#define CLATTN_KERNELS_ADDITIVE_SUMS_H

#include "kernels/launches.h"

/* Scratch memory for CLATTN_T_ADDITIVE_SUMS: two rows of channels for each range of keys. */
void clattn__place_additive_sums(const clattn__problem *problem, clattn__variant *variant);

/* The launch of additive_sums with so many work-items a group, where parameters get something. */
void clattn__add_additive_sums(const clattn__problem *problem, uint32_t lanes,
                               clattn__variant *variant);

#endif
