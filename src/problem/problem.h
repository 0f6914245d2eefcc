/* A problem: a description of attention that has passed every rule, with defaults filled in. Plain
 * values without handles or pointers; two problems with equal bytes are the same problem. */
#ifndef CLATTN_PROBLEM_PROBLEM_H
#define CLATTN_PROBLEM_PROBLEM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "problem/dtype.h"
#include "problem/slot.h"

typedef struct clattn__layout {
    int64_t stride[4]; /* elements; 0 beyond the slot's rank and where the extent is 1 or 0 */
} clattn__layout;

typedef struct clattn__problem {
    int64_t extent[CLATTN__EXTENT_COUNT];
    uint64_t slots; /* bits of all slots that take part, required ones included */
    clattn__layout layout[CLATTN_SLOT_LIMIT];
    uint32_t dtype[CLATTN_SLOT_LIMIT]; /* clattn_dtype */
    float scale;
    uint32_t causal;       /* 0 or 1 */
    int64_t causal_offset; /* key j is visible to query i only if j <= i + causal_offset */
} clattn__problem;

/* Copies and checks a description; every violation has its own sentence. */
clattn_status clattn__problem_init(clattn__problem *problem, const clattn_attention_desc *desc);

bool clattn__problem_has(const clattn__problem *problem, clattn_slot slot);

/* Extent of dimension `dim` of a slot. */
int64_t clattn__slot_extent(const clattn__problem *problem, clattn_slot slot, uint32_t dim);

/* The bytes that a slot's elements span, relative to element (0, 0, ...): low <= 0 < high. An empty
 * tensor has low = high = 0. */
void clattn__slot_span(const clattn__problem *problem, clattn_slot slot, int64_t *low,
                       int64_t *high);

/* True if no element is to be computed or written. */
bool clattn__problem_is_empty(const clattn__problem *problem);

/* "B=1 H=8/8 n_q=128 ..." for logs and explanations. */
void clattn__problem_describe(const clattn__problem *problem, char *text, size_t capacity);

#endif
