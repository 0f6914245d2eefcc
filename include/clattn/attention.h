/* clattn: attention described, computed in one blocking call, and planned. Part of clattn/clattn.h.
 */
#ifndef CLATTN_ATTENTION_H
#define CLATTN_ATTENTION_H

#include <clattn/context.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------
 * Describing attention
 * --------------------------------------------------------------------------------------------- */

/* How elements are stored. Arithmetic is float32 in any case; see docs/numerics.md. */
typedef enum clattn_dtype {
    CLATTN_F32 = 0,
    CLATTN_F16 = 1,  /* IEEE 754 binary16 */
    CLATTN_BF16 = 2, /* the upper half of a float32; written rounded to nearest even */
    CLATTN_BOOL = 3, /* one byte, 0 is false */
    CLATTN_I32 = 4,
    CLATTN_I64 = 5,
    /* Keys and values of a cache, with scales: an element stands for its integer times its scale.
     */
    CLATTN_I8 = 6, /* -127 .. 127 */
    CLATTN_I4 = 7  /* -7 .. 7, two's complement, two in a byte, the even one in the low half: rows
                      have an even number of elements, side by side, and begin with a byte */
} clattn_dtype;

/* Which tensor of an operation. B batch, H n_head, Hkv n_kv_head, D head_dim, Dv value_dim,
 * Nkv = n_past + n_kv the keys that queries meet. "float" is F32, F16 or BF16, each tensor its own.
 *
 * A score-shaped tensor, (B, H, n_q, Nkv), is broadcast by strides of 0. Small tensors, marked
 * "host too", can also be given as host arrays that are copied at submission: clattn_binding. */
typedef enum clattn_slot {
    CLATTN_SLOT_Q = 0,             /* (B, H, n_q, D)      float, read */
    CLATTN_SLOT_K = 1,             /* (B, Hkv, n_kv, D)   float, read */
    CLATTN_SLOT_V = 2,             /* (B, Hkv, n_kv, Dv)  float, read */
    CLATTN_SLOT_OUT = 3,           /* (B, H, n_q, Dv)     float, written */
    CLATTN_SLOT_LSE = 4,           /* (B, H, n_q)         F32, written; log of the sum of
                                      exp(score), the sink's included */
    CLATTN_SLOT_WEIGHTS = 5,       /* (B, H, n_q, Nkv)    F32, written; softmax of the scores */
    CLATTN_SLOT_MASK = 6,          /* (B, H, n_q, Nkv)    BOOL, read; true: the key is visible */
    CLATTN_SLOT_BIAS = 7,          /* (B, H, n_q, Nkv)    float, read; added to the scores */
    CLATTN_SLOT_ALIBI = 8,         /* (H)                 F32, read, host too; slopes: a score gets
                                      - slope * |i + offset - j|. Press et al. 2022 */
    CLATTN_SLOT_SINK = 9,          /* (H)                 F32, read, host too; logits that take
                                      part in the softmax's sum alone. Xiao et al. 2024 */
    CLATTN_SLOT_Q_LENGTHS = 10,    /* (B)                 I32, read, host too; queries from it on
                                      give OUT 0 and LSE -inf. Ragged: (B + 1), see `ragged` */
    CLATTN_SLOT_KV_LENGTHS = 11,   /* (B)                 I32, read, host too; keys from it on are
                                      invisible and never read. Ragged: (B + 1), see there */
    CLATTN_SLOT_BLOCK_COUNT = 12,  /* (B, H, ceil(n_q / block_q))  I32, read, host too */
    CLATTN_SLOT_BLOCK_INDEX = 13,  /* (B, H, ceil(n_q / block_q), block_limit)  I32, read, host
                                      too; see block_q */
    CLATTN_SLOT_PARAMS = 14,       /* (n_params)          F32, read, host too; for the caller's
                                      score and mask functions */
    CLATTN_SLOT_SEED = 15,         /* (2)                 I64, read, host too; seed and offset of
                                      the dropout, or of `sample` */
    CLATTN_SLOT_PAST_K = 16,       /* (B, Hkv, n_past, D)   float, read; keys before those of K */
    CLATTN_SLOT_PAST_V = 17,       /* (B, Hkv, n_past, Dv)  float, read; of PAST_K's values */
    CLATTN_SLOT_PRESENT_K = 18,    /* (B, Hkv, Nkv, D)    float, written; PAST_K, then K */
    CLATTN_SLOT_PRESENT_V = 19,    /* (B, Hkv, Nkv, Dv)   float, written; PAST_V, then V */
    CLATTN_SLOT_WEIGHTS_MEAN = 20, /* (B, n_q, Nkv)       F32, written; WEIGHTS, mean of heads */
    CLATTN_SLOT_WEIGHTS_SUM = 21,  /* (B, H, Nkv)         F32, written; WEIGHTS summed over the
                                      queries: how much each key was attended to */
    CLATTN_SLOT_SCORES = 22,       /* (B, H, n_q, Nkv)    F32, written; see score_stage */
    CLATTN_SLOT_PARTIAL_OUT = 23,  /* merge: (parts, B, H, n_q, Dv)  float, read */
    CLATTN_SLOT_PARTIAL_LSE = 24,  /* merge: (parts, B, H, n_q)      F32, read */
    /* Of the gradients alone, where OUT and LSE are read: see clattn_plan_attention_gradient. */
    CLATTN_SLOT_GRAD_OUT = 25,    /* (B, H, n_q, Dv)     float, read */
    CLATTN_SLOT_GRAD_LSE = 26,    /* (B, H, n_q)         F32, read */
    CLATTN_SLOT_GRAD_Q = 27,      /* (B, H, n_q, D)      float, written */
    CLATTN_SLOT_GRAD_K = 28,      /* (B, Hkv, n_kv, D)   float, written */
    CLATTN_SLOT_GRAD_V = 29,      /* (B, Hkv, n_kv, Dv)  float, written */
    CLATTN_SLOT_GRAD_BIAS = 30,   /* (B, H, n_q, Nkv)    float, written; strides of 0 sum over
                                     their dimension. Not strided: contiguous, summed over the
                                     dimensions in which BIAS has strides of 0 */
    CLATTN_SLOT_GRAD_SINK = 31,   /* (H)                 F32, written */
    CLATTN_SLOT_GRAD_PAST_K = 32, /* (B, Hkv, n_past, D)   float, written */
    CLATTN_SLOT_GRAD_PAST_V = 33, /* (B, Hkv, n_past, Dv)  float, written */
    /* Not of the gradients. With it K and V are (n_pages, Hkv, page_size, D or Dv), see page_size.
     */
    CLATTN_SLOT_PAGES = 34, /* (B, page_limit)     I32, read, host too */
    /* Of attention, see rotary_dim; of clattn_plan_append, clattn_plan_rotary and
     * clattn_plan_shift, see clattn/operations.h. */
    CLATTN_SLOT_POSITIONS = 35, /* (B)               I32, read, host too */
    CLATTN_SLOT_ANGLES = 36,    /* (n_positions, rotary_dim / 2, 2)  F32, read */
    CLATTN_SLOT_INDICES = 37,   /* (B, H, n_q, top_k; 1 with `sample`)  I32, written; with top_k
                                   alone */
    /* Of clattn_plan_linear, see clattn/operations.h: what is read and written depends on the pass.
     */
    CLATTN_SLOT_X = 38,        /* (batch, rows, in)   float */
    CLATTN_SLOT_W = 39,        /* (out, in)           float */
    CLATTN_SLOT_B = 40,        /* (out)               float */
    CLATTN_SLOT_Y = 41,        /* (batch, rows, out)  float */
    CLATTN_SLOT_PACKED_W = 42, /* F32, what clattn_plan_linear_pack made of W */
    /* Of clattn_plan_additive and its gradient, see clattn/operations.h. */
    CLATTN_SLOT_W_SCORE = 43,           /* (H, channels)  float, read */
    CLATTN_SLOT_CHANNEL_BIAS = 44,      /* (H, channels)  float, read */
    CLATTN_SLOT_GRAD_W_SCORE = 45,      /* (H, channels)  float, written */
    CLATTN_SLOT_GRAD_CHANNEL_BIAS = 46, /* (H, channels)  float, written */
    /* With K or V of type I8 or I4, for attention; with PRESENT_K or PRESENT_V of these types, for
     * clattn_plan_append, which writes them. Their last dimension is that of scale_channels. In
     * pages, as K and V are: (n_pages, Hkv, page_size, ...). */
    CLATTN_SLOT_K_SCALES = 47, /* (B, Hkv, n_kv, 1 or ceil(D / 32))   F32 */
    CLATTN_SLOT_V_SCALES = 48, /* (B, Hkv, n_kv, 1 or ceil(Dv / 32))  F32 */
    /* With rms_norm, of attention, clattn_plan_append (Hkv) and clattn_plan_rotary. */
    CLATTN_SLOT_RMS_WEIGHT = 49, /* (H, D)            float, read; stride 0: heads share weights */
    CLATTN_SLOT_SHIFTS = 50,     /* (B)               I32, read, host too; of clattn_plan_shift */
    /* A position for each token, with ANGLES, of attention, clattn_plan_append (n_kv) and
     * clattn_plan_rotary (n). With `ragged` (1, total_q). */
    CLATTN_SLOT_TOKEN_POSITIONS = 51 /* (B, n_q)        I32, read, host too */
} clattn_slot;
#define CLATTN_SLOT_LIMIT     64 /* room in descriptions for slots to come */
#define CLATTN_RANK_LIMIT     5  /* dimensions of a tensor */
#define CLATTN_SLOT_BIT(slot) ((uint64_t)1 << (slot))

/* How query i meets key j: as if it stood at position i + offset among the keys. Causal attention,
 * windows, ALiBi and the caller's functions use it. Causal, window and ALiBi have no default,
 * because systems differ. */
typedef enum clattn_align {
    CLATTN_ALIGN_NONE = 0,
    CLATTN_ALIGN_TOP_LEFT = 1,     /* offset = 0 */
    CLATTN_ALIGN_BOTTOM_RIGHT = 2, /* offset = keys - queries, each batch entry's own lengths */
    CLATTN_ALIGN_OFFSET = 3        /* offset = align_offset */
} clattn_align;

/* What CLATTN_SLOT_SCORES holds. Keys beyond a length have -inf at the first three stages. */
typedef enum clattn_score_stage {
    CLATTN_SCORES_SCALED = 0,  /* scale * q . k */
    CLATTN_SCORES_CAPPED = 1,  /* after the softcap */
    CLATTN_SCORES_VISIBLE = 2, /* after everything; -inf where not visible */
    CLATTN_SCORES_WEIGHTS = 3  /* as CLATTN_SLOT_WEIGHTS */
} clattn_score_stage;

/* Layout of one tensor. Without `strided` it is contiguous in the order of its slot's shape; in a
 * ragged problem Q, K, V, OUT, LSE and their gradients are contiguous as (token, head, dim). */
typedef struct clattn_tensor {
    clattn_dtype dtype; /* where the slot allows only one type, F32 (0) stands for it */
    uint32_t strided;   /* 1: `stride` holds */
    int64_t stride[CLATTN_RANK_LIMIT]; /* elements; one for each dimension of the slot's shape */
} clattn_tensor;

enum {                                      /* clattn_attention_desc.flags */
       CLATTN_ATTENTION_WEIGHTS_DROPPED = 1 /* WEIGHTS, _MEAN and _SUM after dropout, not before */
};

/* out[b,h,i,:] = sum over visible j of softmax_j(s[b,h,i,j]) v[b,g,j,:], g = h / (H / Hkv).
 * Vaswani et al. 2017, "Attention Is All You Need", eq. 1; shared key/value heads: Ainslie et al.
 * 2023. A score is made in this order:
 *    s = scale * q[b,h,i,:] . k[b,g,j,:]
 *    s = softcap * tanh(s / softcap)                   with softcap
 *    s = s - alibi[h] * |i + offset - j|               with ALIBI
 *    s = score(s, b, h, i + offset, j, params)         with score_function
 *    s = s + bias[b,h,i,j]                             with BIAS
 * and key j is visible to query i if neither s nor bias[b,h,i,j] is -inf and
 *    j < the batch entry's number of keys, i < its number of queries
 *    mask[b,h,i,j]                                     with MASK
 *    j <= i + offset                                   causal
 *    i + offset - left <= j <= i + offset + right      with a window
 *    j / block_kv is listed for i / block_q            with BLOCK_INDEX
 *    visible(b, h, i + offset, j, params)              with mask_function
 * A query that sees no key gives 0, and LSE -inf, or the sink's logit. docs/numerics.md has more.
 */
typedef struct clattn_attention_desc {
    uint32_t struct_size;
    uint32_t has_scale;   /* 1: use `scale`; 0: 1 / sqrt(head_dim) */
    float scale;          /* finite */
    float softcap;        /* 0: none; otherwise at least 2^-126, and finite */
    uint32_t causal;      /* 1 or 0 */
    clattn_align align;   /* needed with causal, has_window and ALIBI */
    int64_t align_offset; /* of CLATTN_ALIGN_OFFSET, else 0; -(2^31-1) .. 2^31-1 */
    uint32_t has_window;  /* 1: window_left and window_right hold */
    float dropout;        /* probability that a weight is set to 0, others are divided by 1 minus
                             it; 0 <= dropout < 1. Not 0: SEED takes part */
    int64_t window_left;  /* keys before the aligned one that are visible; -1: all */
    int64_t window_right; /* keys after it; -1: all */
    uint32_t flags;       /* CLATTN_ATTENTION_*, or-ed */
    clattn_score_stage score_stage; /* of SCORES, else 0 */
    /* 1: sequences of different lengths lie one after the other. Q_LENGTHS and KV_LENGTHS take
     * part, have batch + 1 elements, begin with 0 and never descend: entry b has the tokens
     * Q_LENGTHS[b] .. Q_LENGTHS[b + 1] - 1 of Q, OUT and LSE, and those of KV_LENGTHS of K and V.
     * These tensors and their gradients have no batch dimension (stride[0] is not used) and total_q
     * or total_kv tokens. n_q and n_kv are bounds: no sequence may be longer. Others stay (B, H,
     * n_q, Nkv). Past keys, n_past of each entry, come before its own, and KV_LENGTHS doesn't count
     * them; no PRESENT_K and PRESENT_V. With PAGES, K and V are in pages as ever, KV_LENGTHS has
     * batch elements, the number of keys of each entry, and total_kv is 0: queries of sequences
     * that are at different places, some with a prompt, others with a token, in one call. */
    uint32_t ragged;
    uint32_t reserved;         /* 0 */
    int64_t total_q, total_kv; /* ragged, else 0; total_kv also with PAGES */
    uint64_t slots;            /* optional tensors that take part: CLATTN_SLOT_BIT(...) or-ed */
    int64_t batch;     /* 0 .. 2^31-1, as are all extents but those that follow with a range */
    int64_t n_head;    /* query heads, at least 1 */
    int64_t n_kv_head; /* key/value heads; divides n_head */
    int64_t n_q;       /* queries */
    int64_t n_kv;      /* keys and values of K and V */
    int64_t n_past;    /* of PAST_K and PAST_V, else 0 */
    int64_t head_dim;  /* 1 .. 576 */
    int64_t value_dim; /* 1 .. 576 */
    /* Block-sparse attention, with BLOCK_COUNT and BLOCK_INDEX: queries of block i / block_q visit
     * the keys of the first BLOCK_COUNT[b,h,i / block_q] blocks of BLOCK_INDEX[b,h,i / block_q,:],
     * each block_kv keys wide, indices strictly ascending. */
    int64_t block_q, block_kv, block_limit; /* at least 1 with these slots, else 0 */
    int64_t n_params;                       /* of PARAMS, else 0 */
    /* OpenCL C texts, or NULL; copied. They define
     *    float score(float s, int batch, int head, int q, int k, __global const float *params)
     *    int visible(int batch, int head, int q, int k, __global const float *params)
     * q is i + offset, params NULL without PARAMS. docs/functions.md: vector forms, predicates that
     * skip whole tiles, examples. */
    const char *score_function;
    const char *mask_function;
    clattn_tensor tensor[CLATTN_SLOT_LIMIT]; /* by slot */
    /* For gradients, with score_function: an OpenCL C text that defines its derivative by s,
     *    float score_gradient(float s, int batch, int head, int q, int k,
     *                         __global const float *params)
     * of the same arguments. Forward attention doesn't use it. */
    const char *score_gradient;
    /* With PAGES, else 0: keys and values lie in pages of page_size tokens. K and V are
     * (n_pages, n_kv_head, page_size, dim), in any order that strides express, and token j of
     * batch entry b is token j % page_size of page PAGES[b, j / page_size]; n_kv bounds the tokens
     * of an entry, KV_LENGTHS has their numbers. Pages may be shared. Of a table only the pages
     * that hold an entry's tokens are read. */
    int64_t page_size, n_pages, page_limit; /* at least 1; page_size * page_limit >= n_kv */
    /* Not 0: each query attends to the top_k visible keys of highest score alone, the lower index
     * first where scores are equal; 1 is hard attention. Exact. Softmax, LSE and WEIGHTS (0
     * elsewhere) are over these keys. INDICES has them in descending order of score, -1 where fewer
     * are visible. Not for gradients; no dropout, WEIGHTS_MEAN, WEIGHTS_SUM, SCORES, PRESENT_K and
     * PRESENT_V. */
    int64_t top_k; /* 0 .. 2^31-1 */
    /* With K_SCALES or V_SCALES: channels that share a scale, 0: all of a row; 32. Not for
     * gradients; no PAST_K, PRESENT_K and PRESENT_V. */
    int64_t scale_channels;
    /* 1: one of these keys is drawn for each query, each with the probability of its weight, by a
     * random number that goes with the query's position: SEED takes part, docs/numerics.md has the
     * mapping. OUT is the value of the key that was drawn, INDICES (B, H, n_q, 1) the key, WEIGHTS
     * the weight by which it was drawn in its place; LSE is that of all top_k. Where nothing is
     * visible, or the sink was drawn: 0, and -1 for the key. */
    uint32_t sample; /* 1 or 0; with top_k alone */
    /* With PAGES: 1: batch entries may begin with the same pages, as forks of a sequence do. Few
     * queries then read a split of 512 keys, all of whose pages several entries have in the same
     * place, once for all of them, by attention_decode_simd; other kernels read it for each.
     * Results have the same bits with 0 and 1; without shared pages 1 is slower. */
    uint32_t cascade;
    /* Queries as the model's projection gives them. Each row of Q is first RMS normalised, with
     * rms_norm, and then rotated, with ANGLES, as clattn_plan_rotary does it (clattn/operations.h),
     * in one more launch of the plan; keys have been, by clattn_plan_append. Bits are those of
     * clattn_plan_rotary with an OUT of F32. With ANGLES query i of entry b is at POSITIONS[b] + i,
     * or at TOKEN_POSITIONS[b, i], which need not ascend and may be equal, as those of siblings in
     * a tree of drafts; without either at i + offset, where `align` puts it among the keys: for a
     * sequence that has lost no tokens, BOTTOM_RIGHT is all that is needed. Positions in buffers
     * are clamped to those that ANGLES has. Causal, window and ALiBi know `align` alone. Not for
     * gradients. */
    int64_t rotary_dim;   /* with ANGLES, else 0: even, 2 .. head_dim */
    int64_t n_positions;  /* with ANGLES, else 0: at least 1; more than any position */
    uint32_t interleaved; /* 1 or 0 */
    uint32_t rms_norm;    /* 1 or 0; with RMS_WEIGHT elements are then multiplied with weights */
    float rms_epsilon;    /* with rms_norm, else 0: 2^-90 .. 2^90 */
    uint32_t padding;     /* 0 */
} clattn_attention_desc;

static inline void clattn_attention_desc_init(clattn_attention_desc *desc)
{
    memset(desc, 0, sizeof *desc);
    desc->struct_size = sizeof *desc;
}

/* Merging partial results over disjoint sets of keys (split keys, cascades, rings across machines):
 * lse = log(sum over parts of exp(partial_lse) + exp(sink)), out = sum over parts of
 * exp(partial_lse - lse) * partial_out. Slots: PARTIAL_OUT, PARTIAL_LSE, OUT; optional LSE and
 * SINK. The partial LSEs must not include the sink. A part whose LSE is -inf counts for nothing,
 * whatever its PARTIAL_OUT holds. */
typedef struct clattn_merge_desc {
    uint32_t struct_size;
    uint32_t reserved; /* 0 */
    uint64_t slots;    /* optional tensors that take part */
    int64_t parts;     /* 1 .. 2^31-1 */
    int64_t batch;     /* 0 .. 2^31-1, as are n_head (at least 1) and n_q */
    int64_t n_head;
    int64_t n_q;
    int64_t value_dim;                       /* 1 .. 576 */
    clattn_tensor tensor[CLATTN_SLOT_LIMIT]; /* by slot */
} clattn_merge_desc;

static inline void clattn_merge_desc_init(clattn_merge_desc *desc)
{
    memset(desc, 0, sizeof *desc);
    desc->struct_size = sizeof *desc;
}

/* ------------------------------------------------------------------------------------------------
 * The short way: host memory, one blocking call
 * --------------------------------------------------------------------------------------------- */

/* Attention on host pointers. Plans are remembered in the context; on a CPU device nothing is
 * copied. q, k, v and out follow desc->tensor. desc->slots must be 0. Any thread. */
CLATTN_API clattn_status clattn_attention(clattn_context *context,
                                          const clattn_attention_desc *desc, const void *q,
                                          const void *k, const void *v, void *out);

typedef struct clattn_host_binding {
    clattn_slot slot;
    uint32_t reserved;
    void *data; /* address of element (0, 0, ...); tensors that are read are never written */
} clattn_host_binding;

/* The same with any slots: every slot of the operation exactly once. */
CLATTN_API clattn_status clattn_run(clattn_context *context, const clattn_attention_desc *desc,
                                    const clattn_host_binding *bindings, uint32_t count);

/* Gradients on host pointers, in the same manner; see clattn_plan_attention_gradient. */
CLATTN_API clattn_status clattn_run_gradient(clattn_context *context,
                                             const clattn_attention_desc *desc,
                                             const clattn_host_binding *bindings, uint32_t count);

/* Merging on host pointers, in the same manner. */
CLATTN_API clattn_status clattn_merge(clattn_context *context, const clattn_merge_desc *desc,
                                      const clattn_host_binding *bindings, uint32_t count);

/* ------------------------------------------------------------------------------------------------
 * Plans
 * --------------------------------------------------------------------------------------------- */

/* An operation made ready for the devices of a context. Immutable; any thread; may be submitted
 * many times, at the same time too. */
typedef struct clattn_plan clattn_plan;

/* Chooses a kernel, configures and compiles it, or takes it from the cache; for each device of the
 * context. The status is the first device's, or CLATTN_ERR_OUT_OF_MEMORY by any of them: another
 * one for which there is no plan takes no part in its submissions, and clattn_explain says why. */
CLATTN_API clattn_status clattn_plan_attention(clattn_context *context,
                                               const clattn_attention_desc *desc,
                                               clattn_plan **plan);
CLATTN_API clattn_status clattn_plan_merge(clattn_context *context, const clattn_merge_desc *desc,
                                           clattn_plan **plan);

/* The gradients of attention: from what a loss changes with OUT (GRAD_OUT) and, if asked, with LSE
 * (GRAD_LSE), to what it changes with the inputs. Weights are computed once more from Q, K and LSE;
 * nothing of their size is kept. Dao et al. 2022, "FlashAttention", appendix B.4.
 *
 * `desc` is the description of the forward pass, with other slots: LSE must be among them, which
 * the forward pass wrote, and at least one of GRAD_Q, GRAD_K, GRAD_V, GRAD_BIAS, GRAD_SINK,
 * GRAD_PAST_K, GRAD_PAST_V. Q, K, V, OUT, LSE and GRAD_OUT are read. What the forward pass returns
 * besides OUT and LSE has no part. A score_function needs a score_gradient.
 *
 * Gradients are written, not added. Where nothing is visible they are 0, as they are for queries
 * and keys behind a length; ragged tokens that no sequence has are not touched. Options of the
 * forward pass have their part, but for those of inference, which are refused: PAGES, keys and
 * values as integers with scales, top_k and sample, and rotation or RMS normalisation of queries
 * (clattn_plan_rotary is an operation of its own). docs/numerics.md has the formulas. The same bits
 * come out on repetition. */
CLATTN_API clattn_status clattn_plan_attention_gradient(clattn_context *context,
                                                        const clattn_attention_desc *desc,
                                                        clattn_plan **plan);

/* Frees the plan. Submissions in flight are not disturbed. */
CLATTN_API void clattn_plan_destroy(clattn_plan *plan);

/* Scratch memory that one submission of the plan needs in flight, bytes; 0 where none. Of several
 * devices it is what the one needs that needs most. */
CLATTN_API clattn_status clattn_plan_workspace_size(const clattn_plan *plan, uint64_t *size);

typedef struct clattn_plan_info {
    uint32_t struct_size;
    uint32_t launches;       /* kernel launches of one submission */
    char kernel[64];         /* name in the registry */
    char configuration[192]; /* "VEC=16 ROWS=6 ..." */
    uint64_t workspace;      /* bytes */
    double plan_seconds;     /* how long planning took, compiling included */
    uint32_t from_cache;     /* 1: no program had to be compiled from source */
    uint32_t tuned;          /* 1: the configuration is that of the tuning file, see clattn_tune */
} clattn_plan_info;

/* Of the context's first device, but for the workspace, which is clattn_plan_workspace_size's, and
 * the time, which is that of all devices. info->struct_size must be set to sizeof *info. */
CLATTN_API clattn_status clattn_plan_get_info(const clattn_plan *plan, clattn_plan_info *info);

/* A text of several lines: the problem, the kernel chosen, its configuration and where that comes
 * from, workspace and launches, and why each preferred kernel declined; all this for one device
 * after the other. Owned by the plan. */
CLATTN_API const char *clattn_explain(const clattn_plan *plan);

#ifdef __cplusplus
}
#endif

#endif
