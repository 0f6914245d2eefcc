/* Register tiles of attention_decode_simd, and what of it can be tuned. */
#ifndef CLATTN_KERNELS_DECODE_TUNING_H
#define CLATTN_KERNELS_DECODE_TUNING_H

#include "kernels/tunable.h"

typedef struct clattn__decode_tile {
    uint32_t vec, registers; /* least vector width and number of registers */
    uint32_t least;          /* queries that share keys */
    uint32_t rows, value_cols;
} clattn__decode_tile;

/* Rows that go through a split at once with cascade, where there may be hundreds. */
#define CLATTN__DECODE_CASCADE 32

/* Queries that share keys; with cascade those of many entries do. */
int64_t clattn__decode_queries(const clattn__problem *problem);

/* The tile for this many queries that share keys; there is always one. */
const clattn__decode_tile *clattn__decode_tile_of(int64_t queries, const clattn__caps *caps);

extern const clattn__tunable clattn__decode_tunable;

#endif
