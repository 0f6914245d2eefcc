/* Partial results over splits of the keys, CLATTN_SPLIT of them each from key 0 on: their memory,
 * and the launch that merges them. */
#ifndef CLATTN_KERNELS_SPLITS_H
#define CLATTN_KERNELS_SPLITS_H

#include "kernels/launches.h"

/* Queries of all heads that share keys. */
int64_t clattn__shared_rows(const clattn__problem *problem);

/* Bytes of the partial results, in floating point because it must not overflow. */
double clattn__parts_bound(const clattn__problem *problem);

/* CLATTN_T_PARTS, where there is more than one split; a single one's group writes the results
 * itself. */
void clattn__place_parts(const clattn__problem *problem, clattn__variant *variant);

/* The launch of merge_splits, where there is something to merge. */
void clattn__add_merge_splits(const clattn__problem *problem, clattn__variant *variant);

#endif
