/* A problem: a description that has passed every rule, with defaults filled in. Plain values
 * without handles or pointers; two problems with equal bytes are the same problem. */
#ifndef CLATTN_PROBLEM_PROBLEM_H
#define CLATTN_PROBLEM_PROBLEM_H

#include <stdbool.h>
#include <stdint.h>

#include <clattn/layer.h>

#include "base/hash.h"
#include "base/status.h"
#include "problem/dtype.h"
#include "problem/slot.h"

/* A window's side that hides nothing. */
#define CLATTN__UNLIMITED ((int64_t)1 << 40)

typedef struct clattn__layout {
    int64_t stride[CLATTN_RANK_LIMIT]; /* elements; 0 beyond the slot's rank, where the extent is 1
                                          or 0, and for the batch of ragged tokens */
} clattn__layout;

typedef struct clattn__problem {
    int64_t extent[CLATTN__EXTENT_COUNT];
    uint64_t slots; /* bits of all slots that take part, required ones included */
    clattn__layout layout[CLATTN_SLOT_LIMIT];
    uint32_t dtype[CLATTN_SLOT_LIMIT]; /* clattn_dtype */
    uint32_t kind;                     /* clattn__kind */
    uint32_t ragged;                   /* 0 or 1 */
    float scale;
    float softcap; /* 0: none */
    float dropout; /* 0: none */
    uint32_t weights_dropped;
    uint32_t score_stage; /* clattn_score_stage */
    uint32_t interleaved; /* rotary: pairs are (2i, 2i + 1) */
    /* Key j is visible to query i only if i + o - left <= j <= i + o + right, where o is `offset`,
     * plus keys - queries of the batch entry if `bottom_right`. */
    int64_t offset;
    int64_t left, right; /* CLATTN__UNLIMITED hides nothing */
    uint32_t bottom_right;
    uint32_t causal; /* for the description in words: `right` is 0 or less for it */
    int64_t block_q, block_kv;
    int64_t scale_channels;                     /* that share a scale; 0: all of a row */
    clattn__hash score_function, mask_function; /* of the texts; 0: none */
    clattn__hash score_gradient;                /* the same; gradients only */
    uint32_t bias_sums;  /* bit d: GRAD_BIAS is summed over dimension d, whose extent counts as 1 */
    uint32_t accumulate; /* linear: results are added to what is there */
    uint32_t linear_pass; /* clattn_linear_pass */
    uint32_t sample;      /* 1: one of the keys of highest score is drawn */
    uint32_t cascade;     /* 1: batch entries may have the same pages */
    uint32_t rms_norm;    /* 1: rows are RMS normalised before they are rotated */
    float rms_epsilon;
    uint32_t padding; /* 0 */
} clattn__problem;

/* Copies and checks a description; every violation has its own sentence. */
clattn_status clattn__problem_init(clattn__problem *problem, const clattn_attention_desc *desc);
clattn_status clattn__problem_init_gradient(clattn__problem *problem,
                                            const clattn_attention_desc *desc);
clattn_status clattn__problem_init_append(clattn__problem *problem, const clattn_append_desc *desc);
clattn_status clattn__problem_init_rotary(clattn__problem *problem, const clattn_rotary_desc *desc);
clattn_status clattn__problem_init_shift(clattn__problem *problem, const clattn_shift_desc *desc);
/* `kind` is CLATTN__LINEAR for what the description's pass says, or CLATTN__LINEAR_PACK. */
clattn_status clattn__problem_init_linear(clattn__problem *problem, const clattn_linear_desc *desc,
                                          clattn__kind kind);
/* kind: CLATTN__ADDITIVE or CLATTN__ADDITIVE_GRADIENT */
clattn_status clattn__problem_init_additive(clattn__problem *problem,
                                            const clattn_additive_desc *desc, clattn__kind kind);
clattn_status clattn__problem_init_merge(clattn__problem *problem, const clattn_merge_desc *desc);

bool clattn__problem_has(const clattn__problem *problem, clattn_slot slot);

/* Whether it is linear: a product of matrices. */
bool clattn__problem_is_linear(const clattn__problem *problem);

/* Whether keys of sequences lie one after the other: ragged, and not in pages. */
bool clattn__problem_has_ragged_keys(const clattn__problem *problem);

/* Whether this operation writes the slot's tensor. */
bool clattn__problem_writes(const clattn__problem *problem, clattn_slot slot);

/* Whether doing it twice differs from doing it once: what is written is read as well. What several
 * steps do to each other's memory is not considered. */
bool clattn__problem_updates(const clattn__problem *problem);

/* Whether the caller's functions take part. */
bool clattn__problem_has_score_function(const clattn__problem *problem);
bool clattn__problem_has_score_gradient(const clattn__problem *problem);
bool clattn__problem_has_mask_function(const clattn__problem *problem);

/* Extent of dimension `dim` of a slot's tensor; of ragged tokens, batch is 1;
 * of GRAD_BIAS, dimensions that are summed over are 1. */
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
