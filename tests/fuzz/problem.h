/* A random problem: plain values from which everything else follows, descriptions, memory and what
 * is expected. It is made by generate.h from a seed and an index, and by nothing else. */
#ifndef FUZZ_PROBLEM_H
#define FUZZ_PROBLEM_H

#include <stdbool.h>
#include <stdint.h>

#include <clattn/clattn.h>

#define FUZZ_SLOTS      34
#define FUZZ_BATCH_MOST 4

/* What the elements of a tensor are. */
typedef enum fuzz_values {
    FUZZ_UNIT,      /* between -1 and 1 */
    FUZZ_SMALL,     /* thousandths */
    FUZZ_LARGE,     /* up to 20 */
    FUZZ_HUGE,      /* up to 1e10 in q, k, 1e30 elsewhere, 1e4 in f16 */
    FUZZ_DENORMAL,  /* too small for a normal number of the type */
    FUZZ_ZERO,      /* all 0 */
    FUZZ_SAME,      /* all 0.75 */
    FUZZ_SPARSE,    /* most are 0 */
    FUZZ_INTEGERS,  /* -3 .. 3: scores that are equal */
    FUZZ_NAN,       /* between -1 and 1, a few NaN */
    FUZZ_INFINITE,  /* between -1 and 1, a few infinite */
    FUZZ_HIDING,    /* some -inf */
    FUZZ_LOWEST,    /* some the lowest number of the type */
    FUZZ_EXTREMES,  /* -inf, lowest, 1e4, 1 */
    FUZZ_ALL_LOWEST /* all the lowest number */
} fuzz_values;

/* Layout and contents of one tensor. */
typedef struct fuzz_tensor {
    bool present;
    bool named;   /* the description names the type also where there is only one */
    bool strided; /* the fields to `broadcast` hold */
    clattn_dtype dtype;
    uint8_t order[CLATTN_RANK_LIMIT]; /* dimensions, innermost first */
    uint8_t gap[CLATTN_RANK_LIMIT];   /* elements behind each run, by place in `order` */
    uint8_t step;                     /* stride of the innermost */
    uint8_t negative, broadcast;      /* bit d: dimension d */
    uint8_t shift;                    /* elements before the first */
    fuzz_values values;
} fuzz_tensor;

/* How the problem reaches the library. */
typedef enum fuzz_path {
    FUZZ_RUN,    /* clattn_run, clattn_merge */
    FUZZ_OWN,    /* a submission, each tensor in a buffer of its own */
    FUZZ_WRAP,   /* the same in wrapped host memory */
    FUZZ_SHARED, /* all in one buffer */
    FUZZ_PATHS
} fuzz_path;

typedef enum fuzz_poison {
    FUZZ_CLEAN,  /* run once */
    FUZZ_POISON, /* what must not matter is NaN, infinite, huge */
    FUZZ_BOTH    /* both, and the same bits come out */
} fuzz_poison;

typedef struct fuzz_problem {
    uint64_t seed, index;
    bool merge, gradient; /* neither: forward attention */
    bool differences;     /* gradients are checked by finite differences, too */
    int64_t parts, batch, n_head, n_kv_head, n_q, n_kv, n_past, head_dim, value_dim;
    bool ragged;
    int32_t q_length[FUZZ_BATCH_MOST];
    int32_t kv_length[FUZZ_BATCH_MOST]; /* past keys counted in, but where keys are ragged */
    int64_t spare_q, spare_kv;          /* ragged: tokens behind the last sequence */
    bool has_scale;
    float scale, softcap, dropout;
    bool causal, has_window, weights_dropped;
    clattn_align align;
    int64_t align_offset, window_left, window_right;
    clattn_score_stage score_stage;
    int64_t block_q, block_kv, block_limit;
    int functions;     /* index of functions.h */
    int64_t page_size; /* 0: K and V aren't in pages */
    bool tokens_first; /* pages are (token, head, dim) */
    bool cascade;
    int integers;           /* bits of K and V, 8 or 4, which have scales; 0: floats */
    int64_t scale_channels; /* of them */
    bool rotated;           /* queries by attention, by angles of 0 */
    bool highest;           /* the keys of highest score: */
    int64_t top_k;          /* so many, perhaps more than there are; without 0 */
    bool sample;            /* one of them */
    fuzz_tensor tensor[FUZZ_SLOTS];
    fuzz_path path;
    uint64_t host; /* slots given as host arrays in a submission */
    bool wild;     /* lengths and block lists out of range, in buffers */
    fuzz_poison poison;
    int poison_kind;
} fuzz_problem;

/* A slot as the header's table has it. */
typedef struct fuzz_slot {
    const char *name;
    int rank;
    bool written, is_float, host;
    clattn_dtype dtype; /* where there is only one */
} fuzz_slot;

const fuzz_slot *fuzz_slot_of(int slot);
bool fuzz_is_written(const fuzz_problem *p, int slot); /* gradients read OUT and LSE */
int fuzz_size_of(clattn_dtype dtype);                  /* bytes */

/* Extents of the slot's memory; ragged tensors have one batch entry. Returns the rank. */
int fuzz_shape(const fuzz_problem *p, int slot, int64_t shape[CLATTN_RANK_LIMIT]);

/* Where element (0, 0, ...) lies among those of the tensor, and how many there are in all. */
typedef struct fuzz_layout {
    int64_t stride[CLATTN_RANK_LIMIT], origin, count;
} fuzz_layout;

fuzz_layout fuzz_layout_of(const fuzz_problem *p, int slot);

static inline bool fuzz_has(const fuzz_problem *p, int slot)
{
    return p->tensor[slot].present;
}

/* Keys that a query can meet: n_past + n_kv. */
static inline int64_t fuzz_keys(const fuzz_problem *p)
{
    return p->n_past + p->n_kv;
}

/* Ragged: the tokens of Q, OUT and LSE, or of K and V. */
int64_t fuzz_total(const fuzz_problem *p, bool of_queries);
bool fuzz_has_ragged_keys(const fuzz_problem *p); /* those in pages aren't */
/* The slot's tokens lie one after the other. */
bool fuzz_is_ragged(const fuzz_problem *p, int slot);
bool fuzz_is_query_slot(int slot); /* of those that may be, its tokens are queries */

/* Bit d: GRAD_BIAS is summed over dimension d, whose extent is 1. */
uint8_t fuzz_bias_sums(const fuzz_problem *p);

void fuzz_describe(const fuzz_problem *p, clattn_attention_desc *desc);
void fuzz_describe_merge(const fuzz_problem *p, clattn_merge_desc *desc);

#endif
