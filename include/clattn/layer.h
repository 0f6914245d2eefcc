/* clattn: what is built from operations of clattn.h: the key/value cache, the memory of decoding.
 *
 * A cache has pages of `page_size` tokens. A sequence is a caller's 64-bit id and the pages of its
 * tokens; sequences that begin alike share pages, which are copied when one of them goes on. The
 * host keeps the books, at once, when a function is called; keys and values are moved by steps of a
 * submission, in its order:
 *
 *    clattn_kv_cache_extend(cache, dispatcher, ids, tokens, count)     room for new tokens
 *    clattn_kv_cache_tables(cache, ids, count, limit, pages, lengths)  where they are
 *    for each layer, clattn_submit of two steps, with `pages` and `lengths` as host arrays:
 *        clattn_plan_append      their keys and values into the cache
 *        clattn_plan_attention   attention with CLATTN_SLOT_PAGES, which reads it
 *
 * Steps copy `pages` and `lengths`, so the cache may change while they are in flight. What they
 * read must not change under them: either everything that uses a cache goes to one dispatcher that
 * executes in order (clattn_dispatcher_options.direct, or a queue of the caller's), or
 * clattn_kv_cache_guard tells the cache of the submission's event, and the steps name their
 * sequences (clattn_step.sequences; ids other than 0), whose own order is kept. The first
 * submission of a fork then has those in its wait list that still write what it shares. */
#ifndef CLATTN_LAYER_H
#define CLATTN_LAYER_H

#include <clattn/clattn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------
 * Appending to pages
 * --------------------------------------------------------------------------------------------- */

/* Copies new keys and values into pages, with a change of type if the tensors' differ. Slots:
 *    K          (batch, n_kv_head, n_kv, head_dim)   float, read
 *    V          (batch, n_kv_head, n_kv, value_dim)  float, read
 *    PRESENT_K  (n_pages, n_kv_head, page_size, head_dim)   float, I8 or I4, written
 *    PRESENT_V  (n_pages, n_kv_head, page_size, value_dim)  float, I8 or I4, written
 *    K_SCALES   (n_pages, n_kv_head, page_size, 1 or ceil(head_dim / 32))   F32, written; with
 *    V_SCALES   (n_pages, n_kv_head, page_size, 1 or ceil(value_dim / 32))  PRESENT_ of I8 or I4
 *    PAGES      (batch, page_limit)  I32, read, host too
 *    POSITIONS  (batch)              I32, read, host too
 *    KV_LENGTHS (batch)              I32, read, host too; optional
 *    ANGLES     (n_positions, rotary_dim / 2, 2)  F32, read; optional, see rotary_dim
 * Token i of entry b goes to position p = POSITIONS[b] + i, that is to token p % page_size of page
 * PAGES[b, p / page_size], for i < KV_LENGTHS[b], or n_kv. Nothing else is written; two entries
 * that write to the same page at the same place are the caller's mistake. As I8 or I4 a row, or
 * each 32 channels of it, is divided by a scale, the largest absolute value / 127 or / 7, and
 * rounded to the nearest; once, for good. docs/numerics.md has the error. */
typedef struct clattn_append_desc {
    uint32_t struct_size;
    uint32_t reserved; /* 0 */
    uint64_t slots;    /* optional tensors that take part: CLATTN_SLOT_BIT(...) or-ed */
    int64_t batch;     /* 0 .. 2^31-1, as is n_kv */
    int64_t n_kv_head; /* at least 1, as are page_size, n_pages and page_limit */
    int64_t n_kv;      /* new tokens of an entry, at most */
    int64_t head_dim;  /* 1 .. 576 */
    int64_t value_dim; /* 1 .. 576 */
    int64_t page_size, n_pages, page_limit;
    clattn_tensor tensor[CLATTN_SLOT_LIMIT]; /* by slot */
    int64_t scale_channels; /* with K_SCALES or V_SCALES: channels that share one, 0: all; 32 */
    /* With ANGLES, else 0: keys are rotated by their position, as clattn_plan_rotary does it,
     * before they are stored. n_positions bounds POSITIONS[b] + n_kv. */
    int64_t rotary_dim;   /* even, 2 .. head_dim */
    int64_t n_positions;  /* at least 1 */
    uint32_t interleaved; /* 1 or 0 */
    uint32_t padding;     /* 0 */
} clattn_append_desc;

static inline void clattn_append_desc_init(clattn_append_desc *desc)
{
    memset(desc, 0, sizeof *desc);
    desc->struct_size = sizeof *desc;
}

/* As clattn_plan_attention. Since 0.1. */
CLATTN_API clattn_status clattn_plan_append(clattn_context *context, const clattn_append_desc *desc,
                                            clattn_plan **plan);

/* ------------------------------------------------------------------------------------------------
 * Rotary embedding
 * --------------------------------------------------------------------------------------------- */

/* Rotates pairs of elements by angles that grow with a token's position (Su et al. 2021,
 * "RoFormer"): of a pair (a, b), with the angle's cosine c and sine s, come a c - b s and
 * a s + b c. Pair n, 0 <= n < rotary_dim / 2, is elements (n, n + rotary_dim / 2), or, interleaved,
 * (2 n, 2 n + 1); elements from rotary_dim on are copied. Queries and keys alike. Slots:
 *    Q          (batch, n_head, n, head_dim)  float, read
 *    OUT        (batch, n_head, n, head_dim)  float, written
 *    POSITIONS  (batch)  I32, read, host too; token i of entry b is at POSITIONS[b] + i
 *    ANGLES     (n_positions, rotary_dim / 2, 2)  F32, read; cosine and sine of each position
 * Positions in buffers are clamped to those that ANGLES has. */
typedef struct clattn_rotary_desc {
    uint32_t struct_size;
    uint32_t interleaved; /* 1 or 0 */
    int64_t batch;        /* 0 .. 2^31-1, as is n */
    int64_t n_head;       /* at least 1, as is n_positions */
    int64_t n;            /* tokens of an entry */
    int64_t head_dim;     /* 1 .. 576 */
    int64_t rotary_dim;   /* even, 2 .. head_dim */
    int64_t n_positions;
    clattn_tensor tensor[CLATTN_SLOT_LIMIT]; /* by slot */
} clattn_rotary_desc;

static inline void clattn_rotary_desc_init(clattn_rotary_desc *desc)
{
    memset(desc, 0, sizeof *desc);
    desc->struct_size = sizeof *desc;
}

/* As clattn_plan_attention. Since 0.1. */
CLATTN_API clattn_status clattn_plan_rotary(clattn_context *context, const clattn_rotary_desc *desc,
                                            clattn_plan **plan);

/* Fills angles (n_positions, rotary_dim / 2, 2) on the host, computed in double precision: those of
 * pair n at position p are p * frequencies[n], or, with NULL, p * base^(-2 n / rotary_dim).
 * rotary_dim must be even and at least 2, n_positions at least 0, base above 0 where it is used. */
CLATTN_API clattn_status clattn_rotary_angles(int64_t n_positions, int64_t rotary_dim, double base,
                                              const double *frequencies, float *angles);

/* ------------------------------------------------------------------------------------------------
 * Additive attention
 * --------------------------------------------------------------------------------------------- */

/* Attention by a small network in the place of the product of query and key (Bahdanau et al. 2015,
 * "Neural Machine Translation by Jointly Learning to Align and Translate", appendix A.1.2). Q and K
 * are projected already, to `channels` numbers each:
 *    s[b,h,i,j]  = sum over c of w_score[h,c] tanh(q[b,h,i,c] + k[b,h,j,c] + channel_bias[h,c])
 *    out[b,h,i]  = sum over visible j of softmax_j(s[b,h,i,j]) v[b,h,j]
 * The sums under the tanh are never stored: memory is linear in n_q and n_kv. Slots:
 *    Q             (batch, n_head, n_q, channels)    float, read
 *    K             (batch, n_head, n_kv, channels)   float, read
 *    V             (batch, n_head, n_kv, value_dim)  float, read
 *    W_SCORE       (n_head, channels)                float, read
 *    OUT           (batch, n_head, n_q, value_dim)   float, written
 * and, optional,
 *    CHANNEL_BIAS  (n_head, channels)                float, read
 *    MASK          (batch, n_head, n_q, n_kv)        BOOL, read; true: the key is visible
 *    Q_LENGTHS, KV_LENGTHS  (batch)                  I32, read, host too
 *    LSE           (batch, n_head, n_q)              F32, written; log of the sum of exp(score)
 *    WEIGHTS       (batch, n_head, n_q, n_kv)        F32, written; softmax of the scores
 * Lengths, masks, queries that see no key, NaN and infinities mean what they mean in attention. */
typedef struct clattn_additive_desc {
    uint32_t struct_size;
    uint32_t reserved; /* 0 */
    uint64_t slots;    /* optional tensors that take part */
    int64_t batch;     /* 0 .. 2^31-1, as are n_q and n_kv */
    int64_t n_head;    /* at least 1; heads are independent of each other */
    int64_t n_q;
    int64_t n_kv;
    int64_t channels;                        /* 1 .. 4096 */
    int64_t value_dim;                       /* 1 .. 4096 */
    clattn_tensor tensor[CLATTN_SLOT_LIMIT]; /* by slot */
} clattn_additive_desc;

static inline void clattn_additive_desc_init(clattn_additive_desc *desc)
{
    memset(desc, 0, sizeof *desc);
    desc->struct_size = sizeof *desc;
}

/* As clattn_plan_attention. Since 0.1. */
CLATTN_API clattn_status clattn_plan_additive(clattn_context *context,
                                              const clattn_additive_desc *desc, clattn_plan **plan);

/* Its gradients, by what a loss changes with OUT (GRAD_OUT) and, if asked, with LSE (GRAD_LSE).
 * `desc` is that of the forward pass with other slots: Q, K, V, W_SCORE, OUT, LSE and GRAD_OUT
 * always take part and are read, as are, if they took part, CHANNEL_BIAS, MASK and lengths; of
 * GRAD_Q, GRAD_K, GRAD_V, GRAD_W_SCORE and GRAD_CHANNEL_BIAS those that are wanted are written,
 * each of the shape of what it is the gradient of. Scores are computed once more. The same bits
 * come out on repetition. Since 0.1. */
CLATTN_API clattn_status clattn_plan_additive_gradient(clattn_context *context,
                                                       const clattn_additive_desc *desc,
                                                       clattn_plan **plan);

/* ------------------------------------------------------------------------------------------------
 * The key/value cache
 * --------------------------------------------------------------------------------------------- */

/* Keys and values of sequences, for all layers of a model. Any thread. */
typedef struct clattn_kv_cache clattn_kv_cache;

typedef struct clattn_kv_cache_desc {
    uint32_t struct_size;
    clattn_dtype dtype; /* F32, F16, BF16, I8 or I4: how keys and values are stored */
    int64_t layers;     /* at least 1, as are all that follow */
    int64_t n_kv_head;
    int64_t head_dim;       /* up to 576 */
    int64_t value_dim;      /* up to 576 */
    int64_t page_size;      /* tokens of a page; 16 and more for speed */
    int64_t pages;          /* of the whole cache, each for all layers; up to 2^31-1 */
    int64_t scale_channels; /* I8 and I4: channels that share a scale, 0: all of a row; 32 */
} clattn_kv_cache_desc;

static inline void clattn_kv_cache_desc_init(clattn_kv_cache_desc *desc)
{
    memset(desc, 0, sizeof *desc);
    desc->struct_size = sizeof *desc;
}

/* Allocates pages * page_size tokens' keys and values. */
CLATTN_API clattn_status clattn_kv_cache_create(clattn_context *context,
                                                const clattn_kv_cache_desc *desc,
                                                clattn_kv_cache **cache);
/* Submissions in flight keep the memory alive. NULL is allowed. */
CLATTN_API void clattn_kv_cache_destroy(clattn_kv_cache *cache);

/* Sequences. A call that fails changes nothing. CLATTN_ERR_ARGUMENT for an id that is there already
 * (add, fork) or is not there (all others).
 * add: a new, empty one.
 * fork: a new one that begins with the first `length` tokens of `from`, and shares their pages.
 * truncate: forgets the tokens from `length` on.
 * remove: gives all pages back that no other sequence has. */
CLATTN_API clattn_status clattn_kv_cache_add(clattn_kv_cache *cache, uint64_t id);
CLATTN_API clattn_status clattn_kv_cache_fork(clattn_kv_cache *cache, uint64_t id, uint64_t from,
                                              int64_t length);
CLATTN_API clattn_status clattn_kv_cache_truncate(clattn_kv_cache *cache, uint64_t id,
                                                  int64_t length);
CLATTN_API clattn_status clattn_kv_cache_remove(clattn_kv_cache *cache, uint64_t id);
CLATTN_API clattn_status clattn_kv_cache_length(clattn_kv_cache *cache, uint64_t id,
                                                int64_t *length);

/* Forgets tokens in the middle: the first `sink` tokens stay, and the last `window` (Xiao et al.
 * 2024, "Efficient Streaming Language Models with Attention Sinks"). Whole pages go, so up to
 * page_size - 1 tokens more stay on either side. Call it as often as you like, say before each
 * extend; *evicted (may be NULL) counts the tokens that went, often 0. A sequence has one gap: with
 * a `sink` of other pages than before, CLATTN_ERR_ARGUMENT.
 *
 * Afterwards tokens are counted as if the others had never been: in lengths, tables, reading,
 * truncating and in attention, where causal, window and ALiBi see the distances of this counting,
 * as in the paper. Those within the sinks and within the window are as before, those across are
 * shorter by the gap. Keys that were rotated stay as they were appended. */
CLATTN_API clattn_status clattn_kv_cache_evict(clattn_kv_cache *cache, uint64_t id, int64_t sink,
                                               int64_t window, int64_t *evicted);

typedef struct clattn_kv_sequence_info {
    uint32_t struct_size;
    uint32_t reserved;
    int64_t length;    /* tokens that it has, as clattn_kv_cache_length */
    int64_t pages;     /* that hold them */
    int64_t gap_begin; /* tokens before those that were evicted */
    int64_t gap;       /* tokens evicted: token j >= gap_begin was appended as number j + gap */
    int64_t position;  /* number of the next token, counting those that were evicted */
} clattn_kv_sequence_info;

/* info->struct_size must be set to sizeof *info. */
CLATTN_API clattn_status clattn_kv_cache_get_sequence(clattn_kv_cache *cache, uint64_t id,
                                                      clattn_kv_sequence_info *info);

/* The pages of `count` sequences, as they are now, are in use until `event` is done: call it after
 * clattn_submit, for the sequences whose tables the submission has, before one of them is
 * truncated, evicted from or removed. `ids` NULL with count 0: all sequences. The cache keeps a
 * reference to the event until it has seen that it is done. Until then
 *  - pages that no sequence has any more wait, and are no other sequence's;
 *  - a page that sequences shared isn't written for one of them in the place of what another one,
 *    which has left it, is read for: it is copied, as if that one still had it. */
CLATTN_API clattn_status clattn_kv_cache_guard(clattn_kv_cache *cache, clattn_event *event,
                                               const uint64_t *ids, uint32_t count);

/* Makes room for tokens[i] more tokens of ids[i], all different. CLATTN_ERR_OUT_OF_MEMORY, and
 * nothing has changed, where the free pages aren't enough; CLATTN_ERR_BUSY, and nothing has
 * changed, where they will be when the events are done that pages wait for. The first time that one
 * of several sequences writes to a page that they share, the page is copied: only then the call
 * waits for what `dispatcher` still does, and is not for a callback of it. */
CLATTN_API clattn_status clattn_kv_cache_extend(clattn_kv_cache *cache,
                                                clattn_dispatcher *dispatcher, const uint64_t *ids,
                                                const int64_t *tokens, uint32_t count);

/* pages (count, limit): the pages of each sequence, 0 behind the last one; lengths (count): their
 * tokens. What PAGES and KV_LENGTHS want. `lengths` may be NULL. CLATTN_ERR_ARGUMENT where a
 * sequence has more than `limit` pages. */
CLATTN_API clattn_status clattn_kv_cache_tables(clattn_kv_cache *cache, const uint64_t *ids,
                                                uint32_t count, int64_t limit, int32_t *pages,
                                                int32_t *lengths);

/* Fill in what the cache knows: the first, of attention, PAGES and KV_LENGTHS in slots, heads,
 * dimensions, types and strides of K and V, page_size, n_pages, and page_limit by desc->n_kv,
 * which is the caller's; the second the same of PRESENT_K and PRESENT_V, with page_limit by
 * `tokens`, the longest that a sequence may become. A cache of I8 or I4 adds K_SCALES and V_SCALES
 * to slots, and scale_channels. */
CLATTN_API clattn_status clattn_kv_cache_describe_attention(clattn_kv_cache *cache,
                                                            clattn_attention_desc *desc);
CLATTN_API clattn_status clattn_kv_cache_describe_append(clattn_kv_cache *cache, int64_t tokens,
                                                         clattn_append_desc *desc);

/* The bindings of one layer: those of K and V for attention (`append` 0), of PRESENT_K and
 * PRESENT_V for appending (`append` 1). They hold as long as the cache. */
CLATTN_API clattn_status clattn_kv_cache_bind(clattn_kv_cache *cache, int64_t layer,
                                              uint32_t append, clattn_binding bindings[2]);

/* The same of K_SCALES and V_SCALES, for either. CLATTN_ERR_ARGUMENT unless the cache is of type I8
 * or I4. */
CLATTN_API clattn_status clattn_kv_cache_bind_scales(clattn_kv_cache *cache, int64_t layer,
                                                     clattn_binding bindings[2]);

/* Tokens begin .. begin + count - 1 of one layer of a sequence. */
typedef struct clattn_kv_range {
    uint64_t id;
    int64_t layer, begin, count;
} clattn_kv_range;

/* Copies them to host arrays of the cache's type: k (n_kv_head, count, head_dim),
 * v (n_kv_head, count, value_dim); either may be NULL. Wait for submissions that write them first.
 */
CLATTN_API clattn_status clattn_kv_cache_read(clattn_kv_cache *cache, const clattn_kv_range *range,
                                              void *k, void *v);

/* The scales of a cache of I8 or I4, in the same manner: (n_kv_head, count, scales of a row), one,
 * or one for each 32 channels. CLATTN_ERR_ARGUMENT for other types. */
CLATTN_API clattn_status clattn_kv_cache_read_scales(clattn_kv_cache *cache,
                                                     const clattn_kv_range *range, float *k_scales,
                                                     float *v_scales);

/* Saves a sequence, all layers, to a file, and loads it as a new sequence `id`. The file is the
 * same for every device and page size: rows of the cache's type with checksums; docs/memory.md has
 * its form. It appears whole or not at all. Wait for submissions that write the sequence before
 * saving; load waits for what `dispatcher` does, not from a callback of it. CLATTN_ERR_IO for files
 * that can't be written or read, are truncated, damaged or foreign; CLATTN_ERR_ARGUMENT where type
 * or extents aren't the cache's, or the id is there already; CLATTN_ERR_OUT_OF_MEMORY and
 * CLATTN_ERR_BUSY as extend. A call that fails changes nothing. */
CLATTN_API clattn_status clattn_kv_cache_save(clattn_kv_cache *cache, uint64_t id,
                                              const char *path);
CLATTN_API clattn_status clattn_kv_cache_load(clattn_kv_cache *cache, clattn_dispatcher *dispatcher,
                                              uint64_t id, const char *path);

typedef struct clattn_kv_cache_info {
    uint32_t struct_size;
    uint32_t reserved;
    int64_t pages, free_pages; /* free_pages: nobody has or reads them */
    int64_t sequences;
    int64_t tokens; /* of all sequences, shared ones counted once for each */
    uint64_t bytes; /* of keys and values, all pages */
    int64_t
        waiting_pages;  /* no sequence has them, but events of clattn_kv_cache_guard aren't done */
    int64_t used_pages; /* of sequences; free, waiting and used ones are all */
} clattn_kv_cache_info;

/* info->struct_size must be set to sizeof *info. */
CLATTN_API clattn_status clattn_kv_cache_get_info(clattn_kv_cache *cache,
                                                  clattn_kv_cache_info *info);

/* ------------------------------------------------------------------------------------------------
 * Linear projections
 * --------------------------------------------------------------------------------------------- */

/* What a linear operation computes, and what its slots hold: x (batch, rows, in),
 * y (batch, rows, out), W (out, in), b (out). All batch entries share W and b. */
typedef enum clattn_linear_pass {
    CLATTN_LINEAR_FORWARD = 0,    /* y = x W^T + b.  Reads X, W, B (optional); writes Y */
    CLATTN_LINEAR_GRADIENT_X = 1, /* dx = dy W.  Reads dy in Y, W; writes dx in X */
    CLATTN_LINEAR_GRADIENT_W = 2  /* dW = dy^T x, db = sum of dy over batch and rows.  Reads dy in
                                     Y, x in X; writes W and B, those of them that are named */
} clattn_linear_pass;

/* Strides of the tensors make transposed weights, or heads of an attention, of plain tensors.
 * Sums are made in float32 in ascending order, whatever the types are, and rounded once. */
typedef struct clattn_linear_desc {
    uint32_t struct_size;
    clattn_linear_pass pass;
    uint32_t accumulate; /* 1: what is written is added to what was there */
    uint32_t reserved;   /* 0 */
    uint64_t slots;      /* B; PACKED_W in the place of W; of GRADIENT_W: W, B, or both */
    int64_t batch;       /* 0 .. 2^31-1, as is rows */
    int64_t rows;
    int64_t in; /* 1 .. 2^31-1, as is out */
    int64_t out;
    clattn_tensor tensor[CLATTN_SLOT_LIMIT]; /* by slot */
} clattn_linear_desc;

static inline void clattn_linear_desc_init(clattn_linear_desc *desc)
{
    memset(desc, 0, sizeof *desc);
    desc->struct_size = sizeof *desc;
}

/* As clattn_plan_attention. Since 0.1. */
CLATTN_API clattn_status clattn_plan_linear(clattn_context *context, const clattn_linear_desc *desc,
                                            clattn_plan **plan);

/* On host pointers, in one blocking call, as clattn_run. Since 0.1. */
CLATTN_API clattn_status clattn_linear(clattn_context *context, const clattn_linear_desc *desc,
                                       const clattn_host_binding *bindings, uint32_t count);

/* Weights that stay the same are packed once: a plan that reads W and writes PACKED_W, for the
 * forward pass or the gradient by x of the same description; rows, accumulate and slots don't
 * matter. Packed weights are float32, the same for every device, and change only where they are
 * packed again. Since 0.1. */
CLATTN_API clattn_status clattn_plan_linear_pack(clattn_context *context,
                                                 const clattn_linear_desc *desc,
                                                 clattn_plan **plan);

/* The bytes of PACKED_W. */
CLATTN_API clattn_status clattn_linear_packed_size(const clattn_linear_desc *desc, uint64_t *size);

/* ------------------------------------------------------------------------------------------------
 * Layers: projections and attention, forward and backward, each in one submission
 * --------------------------------------------------------------------------------------------- */

/* A layer holds plans, no parameters: those and their gradients are the caller's. Forward and
 * backward passes of one layer go to one dispatcher, one call at a time. The passes of all layers
 * that go to a dispatcher run in the order of their calls, on several lanes too; one that fails
 * takes those with it that came later and aren't done. docs/layers.md has the formulas and an
 * example. Since 0.1. */
typedef struct clattn_layer clattn_layer;

/* The tensors of a layer, contiguous, of the layer's type unless something else is said. What a
 * layer has of them, and their extents, is said with its description. */
typedef enum clattn_layer_tensor {
    CLATTN_LAYER_X = 0,     /* what queries are made of */
    CLATTN_LAYER_KEY = 1,   /* what keys are made of */
    CLATTN_LAYER_VALUE = 2, /* what values are made of */
    CLATTN_LAYER_OUT = 3,   /* written by the forward pass */
    CLATTN_LAYER_WQ = 4,    /* parameters */
    CLATTN_LAYER_WK = 5,
    CLATTN_LAYER_WV = 6,
    CLATTN_LAYER_WO = 7,
    CLATTN_LAYER_BQ = 8,
    CLATTN_LAYER_BK = 9,
    CLATTN_LAYER_BV = 10,
    CLATTN_LAYER_BO = 11,
    CLATTN_LAYER_KV_LENGTHS = 12, /* (batch) I32, host too: keys from it on are invisible; what
                                     they are made of must be numbers all the same: gradients of
                                     parameters multiply it by 0 */
    CLATTN_LAYER_WEIGHTS = 13,    /* (batch, n_head, n_q, n_kv) F32, written by the forward pass,
                                     before dropout */
    CLATTN_LAYER_SEED = 14,       /* (2) I64, host too: of the dropout, the same both ways */
    CLATTN_LAYER_GRAD_OUT = 15,   /* read by the backward pass */
    CLATTN_LAYER_GRAD_X = 16,     /* written by it: of X to VALUE, WQ to BO */
    CLATTN_LAYER_GRAD_KEY = 17,
    CLATTN_LAYER_GRAD_VALUE = 18,
    CLATTN_LAYER_GRAD_WQ = 19,
    CLATTN_LAYER_GRAD_WK = 20,
    CLATTN_LAYER_GRAD_WV = 21,
    CLATTN_LAYER_GRAD_WO = 22,
    CLATTN_LAYER_GRAD_BQ = 23,
    CLATTN_LAYER_GRAD_BK = 24,
    CLATTN_LAYER_GRAD_BV = 25,
    CLATTN_LAYER_GRAD_BO = 26,
    CLATTN_LAYER_STATE = 27,   /* what the backward pass needs of the forward pass: bytes, see
                                  clattn_layer_sizes; takes part unless it has none */
    CLATTN_LAYER_SCRATCH = 28, /* bytes whose contents don't matter between calls; the same */
    CLATTN_LAYER_W_SCORE = 29, /* of multiplicative and additive attention */
    CLATTN_LAYER_GRAD_W_SCORE = 30,
    CLATTN_LAYER_LSE = 31 /* (batch, n_q) F32, written by the forward pass and read by the backward
                             pass of additive attention, where `optional` names it */
} clattn_layer_tensor;
#define CLATTN_LAYER_BIT(tensor) ((uint64_t)1 << (tensor))
/* All biases, or their gradients: */
#define CLATTN_LAYER_BIASES                                                                        \
    (CLATTN_LAYER_BIT(CLATTN_LAYER_BQ) | CLATTN_LAYER_BIT(CLATTN_LAYER_BK) |                       \
     CLATTN_LAYER_BIT(CLATTN_LAYER_BV) | CLATTN_LAYER_BIT(CLATTN_LAYER_BO))

/* Multi-head attention with projections (Vaswani et al. 2017, 3.2.2):
 *    q = X WQ^T + BQ, k = KEY WK^T + BK, v = VALUE WV^T + BV, each cut into heads
 *    OUT = (heads of attention(q, k, v), side by side) WO^T + BO
 * Self-attention has X in the place of KEY and VALUE. Tensors:
 *    X (batch, n_q, width), KEY (batch, n_kv, key_width), VALUE (batch, n_kv, value_width)
 *    OUT (batch, n_q, width)
 *    WQ (n_head * head_dim, width), WK (n_kv_head * head_dim, key_width)
 *    WV (n_kv_head * value_dim, value_width), WO (width, n_head * value_dim)
 *    BQ, BK, BV, BO: as many as their weights have rows
 * and gradients as what they are the gradients of. */
typedef struct clattn_multi_head_desc {
    uint32_t struct_size;
    clattn_dtype dtype; /* F32, F16 or BF16; the state is F32 in any case */
    uint32_t cross;     /* 1: KEY and VALUE take part; 0: self-attention */
    uint32_t causal;    /* 1 or 0 */
    clattn_align align; /* as of clattn_attention_desc; no offset */
    float dropout;      /* of the weights; not 0: SEED takes part */
    uint32_t has_scale; /* 1: use `scale`; 0: 1 / sqrt(head_dim) */
    float scale;
    int64_t batch;       /* 0 .. 2^31-1, as are n_q and n_kv */
    int64_t n_q;         /* tokens of X */
    int64_t n_kv;        /* of KEY and VALUE; self-attention: 0 or n_q */
    int64_t width;       /* at least 1, as is all that follows; where 0 stands for something: */
    int64_t key_width;   /* 0: width */
    int64_t value_width; /* 0: width */
    int64_t n_head;
    int64_t n_kv_head; /* 0: n_head; divides it */
    int64_t head_dim;  /* 0: width / n_head, which must be whole */
    int64_t value_dim; /* 0: head_dim */
    /* Rotary embedding of q and k, as clattn_plan_rotary, at positions 0, 1, ...; 0: none. */
    int64_t rotary_dim;
    uint32_t rotary_interleaved; /* 1 or 0 */
    uint32_t reserved;           /* 0 */
    double rotary_base;          /* with rotary_dim, above 0 */
    uint64_t optional;   /* CLATTN_LAYER_BIT: BQ, BK, BV, BO, KV_LENGTHS, WEIGHTS that take part */
    uint64_t gradients;  /* GRAD_X to GRAD_BO that the backward pass writes; 0: no backward pass */
    uint64_t accumulate; /* of them, those to which it adds */
} clattn_multi_head_desc;

static inline void clattn_multi_head_desc_init(clattn_multi_head_desc *desc)
{
    memset(desc, 0, sizeof *desc);
    desc->struct_size = sizeof *desc;
}

/* Plans the layer. A field out of its range is CLATTN_ERR_ARGUMENT; *layer is the caller's. */
CLATTN_API clattn_status clattn_layer_create_multi_head(clattn_context *context,
                                                        const clattn_multi_head_desc *desc,
                                                        clattn_layer **layer);

/* Multiplicative attention (Luong et al. 2015, "general"): s = x^T W_SCORE key for each query and
 * key, softmax, sums of values; no scale. Tensors:
 *    X (batch, n_q, width), KEY (batch, n_kv, key_width), VALUE (batch, n_kv, value_width)
 *    OUT (batch, n_q, value_width), W_SCORE (width, key_width)
 * The mode "dot", s = x^T key, is plain attention with scale 1. */
typedef struct clattn_multiplicative_desc {
    uint32_t struct_size;
    clattn_dtype dtype; /* F32, F16 or BF16; the state is F32 in any case */
    int64_t batch;      /* 0 .. 2^31-1, as are n_q and n_kv */
    int64_t n_q, n_kv;
    int64_t width;     /* 1 .. 576, as is value_width */
    int64_t key_width; /* at least 1 */
    int64_t value_width;
    uint64_t optional;   /* KV_LENGTHS, WEIGHTS that take part */
    uint64_t gradients;  /* GRAD_X, GRAD_KEY, GRAD_VALUE, GRAD_W_SCORE; 0: no backward pass */
    uint64_t accumulate; /* of them, those to which it adds */
} clattn_multiplicative_desc;

static inline void clattn_multiplicative_desc_init(clattn_multiplicative_desc *desc)
{
    memset(desc, 0, sizeof *desc);
    desc->struct_size = sizeof *desc;
}

CLATTN_API clattn_status clattn_layer_create_multiplicative(clattn_context *context,
                                                            const clattn_multiplicative_desc *desc,
                                                            clattn_layer **layer);

/* Additive attention with its projections (Bahdanau et al. 2015, appendix A.1.2):
 *    s = W_SCORE . tanh(WQ x + WK key + BQ) for each query and key, softmax, sums of values
 * by clattn_plan_additive, which never stores what is under the tanh. Tensors:
 *    X (batch, n_q, width), KEY (batch, n_kv, key_width), VALUE (batch, n_kv, value_width)
 *    OUT (batch, n_q, value_width), WQ (channels, width), WK (channels, key_width)
 *    BQ, W_SCORE (channels) */
typedef struct clattn_additive_layer_desc {
    uint32_t struct_size;
    clattn_dtype dtype; /* F32, F16 or BF16; the state is F32 in any case */
    int64_t batch;      /* 0 .. 2^31-1, as are n_q and n_kv */
    int64_t n_q, n_kv;
    int64_t width;       /* at least 1, as is key_width */
    int64_t key_width;   /* may be the width of VALUE, as in an encoder's annotations */
    int64_t value_width; /* 1 .. 4096, as is channels */
    int64_t channels;
    uint64_t optional;   /* BQ, KV_LENGTHS, WEIGHTS, LSE that take part */
    uint64_t gradients;  /* GRAD_X, _KEY, _VALUE, _WQ, _WK, _BQ, _W_SCORE; 0: no backward pass */
    uint64_t accumulate; /* of them, those to which it adds */
} clattn_additive_layer_desc;

static inline void clattn_additive_layer_desc_init(clattn_additive_layer_desc *desc)
{
    memset(desc, 0, sizeof *desc);
    desc->struct_size = sizeof *desc;
}

CLATTN_API clattn_status clattn_layer_create_additive(clattn_context *context,
                                                      const clattn_additive_layer_desc *desc,
                                                      clattn_layer **layer);

/* Passes in flight are not disturbed. NULL is allowed. */
CLATTN_API void clattn_layer_destroy(clattn_layer *layer);

/* Bytes of STATE and SCRATCH; 0: takes no part. A state belongs to one forward pass and the
 * backward passes that follow; one scratch may serve all layers of a dispatcher. Either may be
 * NULL. */
CLATTN_API clattn_status clattn_layer_sizes(const clattn_layer *layer, uint64_t *state,
                                            uint64_t *scratch);

/* Where a tensor's memory is, as a clattn_binding. */
typedef struct clattn_layer_binding {
    clattn_layer_tensor tensor;
    uint32_t reserved; /* 0 */
    clattn_buffer *buffer;
    uint64_t offset;  /* bytes; of STATE and SCRATCH a multiple of 64 */
    const void *host; /* tensors marked "host too": copied at submission; NULL with `buffer` */
} clattn_layer_binding;

/* One submission each; `event` may be NULL. Every tensor that the pass reads or writes is bound
 * exactly once; tensors of the layer that it doesn't need may be. CLATTN_ERR_ARGUMENT where one is
 * missing, or the layer has no backward pass. */
CLATTN_API clattn_status clattn_layer_forward(clattn_layer *layer, clattn_dispatcher *dispatcher,
                                              const clattn_layer_binding *bindings, uint32_t count,
                                              clattn_event **event);
CLATTN_API clattn_status clattn_layer_backward(clattn_layer *layer, clattn_dispatcher *dispatcher,
                                               const clattn_layer_binding *bindings, uint32_t count,
                                               clattn_event **event);

/* Marks the weight matrices as constant: they are packed now, into memory of the layer, and forward
 * passes submitted from now on use that and need no WQ to WO (W_SCORE). Call it again when they
 * have changed, and with `count` 0 to end it. */
CLATTN_API clattn_status clattn_layer_keep_weights(clattn_layer *layer,
                                                   clattn_dispatcher *dispatcher,
                                                   const clattn_layer_binding *bindings,
                                                   uint32_t count, clattn_event **event);

#ifdef __cplusplus
}
#endif

#endif
