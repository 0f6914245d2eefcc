/* clattn: what models are made of, besides attention itself: further operations
 * (clattn/operations.h), the key/value cache (clattn/kv_cache.h), and, here, layers that are lists
 * of operations. */
#ifndef CLATTN_LAYER_H
#define CLATTN_LAYER_H

#include <clattn/clattn.h>
#include <clattn/kv_cache.h>
#include <clattn/operations.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

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
    CLATTN_LAYER_LSE = 31, /* (batch, n_q) F32, written by the forward pass and read by the backward
                              pass of additive and multiplicative attention, where `optional` names
                              it */
    CLATTN_LAYER_MASK = 32,     /* (batch, n_head, n_q, n_kv) BOOL, read by both passes; true: the
                                   key is visible; n_head is 1 where a layer has no heads. Not
                                   contiguous where the description's `mask` is strided */
    CLATTN_LAYER_Q_LENGTHS = 33 /* (batch) I32, host too: for queries from it on attention gives 0;
                                   what they are made of must be numbers all the same, as with
                                   KV_LENGTHS */
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
    uint64_t optional;   /* CLATTN_LAYER_BIT: BQ, BK, BV, BO, KV_LENGTHS, Q_LENGTHS, MASK, WEIGHTS
                            that take part */
    uint64_t gradients;  /* GRAD_X to GRAD_BO that the backward pass writes; 0: no backward pass */
    uint64_t accumulate; /* of them, those to which it adds */
    clattn_tensor mask;  /* layout of MASK, F32 (0) stands for BOOL; strides of 0 broadcast */
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
    uint64_t optional;   /* KV_LENGTHS, Q_LENGTHS, MASK, WEIGHTS, LSE that take part */
    uint64_t gradients;  /* GRAD_X, GRAD_KEY, GRAD_VALUE, GRAD_W_SCORE; 0: no backward pass */
    uint64_t accumulate; /* of them, those to which it adds */
    clattn_tensor mask;  /* as of clattn_multi_head_desc */
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
    uint64_t optional;   /* BQ, KV_LENGTHS, Q_LENGTHS, MASK, WEIGHTS, LSE that take part */
    uint64_t gradients;  /* GRAD_X, _KEY, _VALUE, _WQ, _WK, _BQ, _W_SCORE; 0: no backward pass */
    uint64_t accumulate; /* of them, those to which it adds */
    clattn_tensor mask;  /* as of clattn_multi_head_desc */
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

/* Marks the weight matrices as constant: they are packed now, into memory of the layer, and passes
 * submitted from now on, forward and backward, use that and need no WQ to WO (of multiplicative
 * attention, no W_SCORE). A layer with gradients by X, KEY or VALUE, or by what comes before WO,
 * packs weights for those once more: as much memory again. Results have the same bits. Call it
 * again when the weights have changed, and with `count` 0 to end it; the memory stays the layer's
 * until it is destroyed. Where packing fails on the device, passes that follow read what isn't
 * there: the event says so. */
CLATTN_API clattn_status clattn_layer_keep_weights(clattn_layer *layer,
                                                   clattn_dispatcher *dispatcher,
                                                   const clattn_layer_binding *bindings,
                                                   uint32_t count, clattn_event **event);

#ifdef __cplusplus
}
#endif

#endif
