/* clattn: operations besides attention: appending to pages, RMS normalisation, rotary embedding,
 * additive attention, linear projections. Part of clattn/layer.h. */
#ifndef CLATTN_OPERATIONS_H
#define CLATTN_OPERATIONS_H

#include <clattn/attention.h>
#include <stdint.h>
#include <string.h>

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
 *    TOKEN_POSITIONS (batch, n_kv)                I32, read, host too; optional, with ANGLES
 *    RMS_WEIGHT (n_kv_head, head_dim)             float, read; optional, see rms_norm
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
    /* With ANGLES, else 0: keys are rotated as clattn_plan_rotary does it, before they are stored:
     * by their place in the pages, POSITIONS[b] + i, or, with TOKEN_POSITIONS, by the position that
     * TOKEN_POSITIONS[b, i] says. n_positions bounds POSITIONS[b] + n_kv, or each of these;
     * in buffers they are clamped. */
    int64_t rotary_dim;   /* even, 2 .. head_dim */
    int64_t n_positions;  /* at least 1 */
    uint32_t interleaved; /* 1 or 0 */
    uint32_t padding;     /* 0 */
    /* 1: keys are RMS normalised before they are rotated, as clattn_plan_rotary does it. */
    uint32_t rms_norm; /* 1 or 0 */
    float rms_epsilon; /* with rms_norm, else 0: 2^-90 .. 2^90 */
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
 * RMS normalisation and rotary embedding
 * --------------------------------------------------------------------------------------------- */

/* Rotates pairs of elements by angles that grow with a token's position (Su et al. 2021,
 * "RoFormer"): of a pair (a, b), with the angle's cosine c and sine s, come a c - b s and
 * a s + b c. Pair n, 0 <= n < rotary_dim / 2, is elements (n, n + rotary_dim / 2), or, interleaved,
 * (2 n, 2 n + 1); elements from rotary_dim on are copied. Queries and keys alike. Slots:
 *    Q          (batch, n_head, n, head_dim)  float, read
 *    OUT        (batch, n_head, n, head_dim)  float, written
 *    POSITIONS  (batch)  I32, read, host too; token i of entry b is at POSITIONS[b] + i
 *    TOKEN_POSITIONS  (batch, n)  I32, read, host too; optional, in the place of POSITIONS: token i
 *               of entry b is at TOKEN_POSITIONS[b, i]
 *    ANGLES     (n_positions, rotary_dim / 2, 2)  F32, read; cosine and sine of each position
 *    RMS_WEIGHT (n_head, head_dim)  float, read; optional, with rms_norm
 * Positions in buffers are clamped to those that ANGLES has; one below 0 rotates backwards.
 *
 * With rms_norm each row x of a token and head is normalised before (Zhang and Sennrich 2019, "Root
 * Mean Square Layer Normalization"; of queries and keys: Henry et al. 2020), in float32:
 *    x(d) / sqrt(sum of x^2 / head_dim + rms_epsilon) * RMS_WEIGHT[head, d]
 * or without the weight. Weights that all heads share have stride[0] 0. Where a model multiplies
 * with 1 + w, the weights are 1 + w. docs/numerics.md has order and error. With rotary_dim 0 rows
 * are normalised alone: POSITIONS and ANGLES take no part. */
typedef struct clattn_rotary_desc {
    uint32_t struct_size;
    uint32_t interleaved;                    /* 1 or 0 */
    int64_t batch;                           /* 0 .. 2^31-1, as is n */
    int64_t n_head;                          /* at least 1, as is n_positions with rotary_dim */
    int64_t n;                               /* tokens of an entry */
    int64_t head_dim;                        /* 1 .. 576 */
    int64_t rotary_dim;                      /* even, 2 .. head_dim; with rms_norm 0, too */
    int64_t n_positions;                     /* 0 with rotary_dim 0 */
    clattn_tensor tensor[CLATTN_SLOT_LIMIT]; /* by slot */
    uint64_t slots;                          /* RMS_WEIGHT, TOKEN_POSITIONS or 0 */
    uint32_t rms_norm;                       /* 1 or 0 */
    float rms_epsilon;                       /* with rms_norm, else 0: 2^-90 .. 2^90 */
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

/* Rotates keys in pages from the positions that they were rotated by to others, where they are: for
 * windows whose tokens are counted anew when the window moves, see clattn_kv_cache_shift. Slots:
 *    PRESENT_K  (n_pages, n_kv_head, page_size, head_dim)  float, read and written
 *    PAGES      (batch, page_limit)  I32, read, host too
 *    POSITIONS  (batch)  I32, read, host too
 *    KV_LENGTHS (batch)  I32, read, host too
 *    SHIFTS     (batch)  I32, read, host too; absolute values below n_positions
 *    ANGLES     (n_positions, rotary_dim / 2, 2)  F32, read; those of appending
 * The tokens POSITIONS[b] .. POSITIONS[b] + KV_LENGTHS[b] - 1 of entry b, which are where
 * clattn_plan_append put them, are rotated by the angles of SHIFTS[b] positions, backwards where it
 * is below 0; by 0 nothing is touched. Two entries that have the same pages there are the caller's
 * mistake. ANGLES must be cosines and sines as they are: tables that have a factor in them, as some
 * ways of scaling frequencies have, apply it again. Keys of I8 and I4 can't be rotated: they are
 * never quantised again; CLATTN_ERR_UNSUPPORTED. Each shift rounds the key to its type once more:
 * docs/numerics.md. */
typedef struct clattn_shift_desc {
    uint32_t struct_size;
    uint32_t interleaved; /* 1 or 0 */
    int64_t batch;        /* 0 .. 2^31-1, as is n_kv */
    int64_t n_kv_head;    /* at least 1, as are page_size, n_pages, page_limit and n_positions */
    int64_t n_kv;         /* bounds KV_LENGTHS */
    int64_t head_dim;     /* 1 .. 576 */
    int64_t rotary_dim;   /* even, 2 .. head_dim */
    int64_t n_positions;
    int64_t page_size, n_pages, page_limit;
    clattn_tensor tensor[CLATTN_SLOT_LIMIT]; /* by slot */
} clattn_shift_desc;

static inline void clattn_shift_desc_init(clattn_shift_desc *desc)
{
    memset(desc, 0, sizeof *desc);
    desc->struct_size = sizeof *desc;
}

/* As clattn_plan_attention. Since 0.1. */
CLATTN_API clattn_status clattn_plan_shift(clattn_context *context, const clattn_shift_desc *desc,
                                           clattn_plan **plan);

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

#ifdef __cplusplus
}
#endif

#endif
