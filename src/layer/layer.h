/* What a layer is inside: for each pass the plans in order, and for each slot of theirs the tensor
 * that is its memory. Made by the layers' own files, run by layer.c. */
#ifndef CLATTN_LAYER_LAYER_H
#define CLATTN_LAYER_LAYER_H

#include "dispatch/submission.h"

/* Tensors: those of clattn_layer_tensor, then what a layer makes for itself. */
enum {
    CLATTN__LAYER_PUBLIC = 34, /* number of the former */
    CLATTN__LAYER_Q = CLATTN__LAYER_PUBLIC,
    CLATTN__LAYER_K,
    CLATTN__LAYER_V,
    CLATTN__LAYER_O, /* results of attention, before the last projection */
    CLATTN__LAYER_LSE,
    CLATTN__LAYER_PLAIN_Q, /* before rotary embedding */
    CLATTN__LAYER_PLAIN_K,
    CLATTN__LAYER_GRAD_O,
    CLATTN__LAYER_GRAD_Q,
    CLATTN__LAYER_GRAD_K,
    CLATTN__LAYER_GRAD_V,
    CLATTN__LAYER_GRAD_PLAIN_Q,
    CLATTN__LAYER_GRAD_PLAIN_K,
    CLATTN__LAYER_ANGLES,
    CLATTN__LAYER_ANGLES_BACK,
    CLATTN__LAYER_POSITIONS,
    CLATTN__LAYER_PACKED_WQ, /* in the order of the weights */
    CLATTN__LAYER_PACKED_WK,
    CLATTN__LAYER_PACKED_WV,
    CLATTN__LAYER_PACKED_WO,
    CLATTN__LAYER_PACKED_W_SCORE,
    CLATTN__LAYER_TURNED_WQ, /* packed for the gradients by what they project, in this order */
    CLATTN__LAYER_TURNED_WK,
    CLATTN__LAYER_TURNED_WV,
    CLATTN__LAYER_TURNED_WO,
    CLATTN__LAYER_TURNED_W_SCORE,
    CLATTN__LAYER_GRAD_BIAS, /* of additive attention */
    CLATTN__LAYER_GRAD_SCORE,
    CLATTN__LAYER_TENSORS
};

typedef enum clattn__pass {
    CLATTN__PASS_FORWARD,
    CLATTN__PASS_BACKWARD,
    CLATTN__PASS_FORWARD_PACKED, /* the same with packed weights */
    CLATTN__PASS_BACKWARD_PACKED,
    CLATTN__PASS_PACK,
    CLATTN__PASSES
} clattn__pass;

#define CLATTN__MOST_PAIRS      20
#define CLATTN__MOST_OPERATIONS 16

/* A slot of a plan and its tensor. */
typedef struct clattn__pair {
    uint8_t slot, tensor;
} clattn__pair;

typedef struct clattn__operation {
    clattn_plan *plan; /* held; passes may share it */
    uint32_t count;
    clattn__pair pair[CLATTN__MOST_PAIRS];
} clattn__operation;

/* Where a tensor that the layer made is: `offset` bytes into another one (STATE or SCRATCH), or in
 * a buffer or array of the layer's. */
typedef struct clattn__own {
    uint32_t within; /* 0: in none */
    uint64_t offset;
    clattn_buffer *buffer; /* owned */
    void *host;            /* owned */
} clattn__own;

struct clattn_layer {
    clattn_context *context; /* borrowed, held */
    clattn__operation operation[CLATTN__PASSES][CLATTN__MOST_OPERATIONS];
    uint32_t count[CLATTN__PASSES];
    clattn__own own[CLATTN__LAYER_TENSORS];
    uint64_t state, scratch; /* bytes */
    uint64_t tensors;        /* bits: those that take part in some pass */
    bool packed;             /* passes use packed weights */
};

/* An empty layer; on failure of what follows it is to be freed. */
clattn_status clattn__layer_begin(clattn_context *context, clattn_layer **layer);
void clattn__layer_free(clattn_layer *layer);

/* Room for `elements` floats in STATE or SCRATCH. */
void clattn__layer_place(clattn_layer *layer, uint32_t tensor, clattn_layer_tensor within,
                         int64_t elements);

/* The tensor of each slot that takes part in an operation. */
typedef struct clattn__tensors {
    uint8_t of[CLATTN_SLOT_LIMIT]; /* by slot */
} clattn__tensors;

/* Appends a plan of the problem to a pass, forward or backward, with packed weights or without. */
clattn_status clattn__layer_add(clattn_layer *layer, clattn__pass pass,
                                const clattn__problem *problem, const clattn__tensors *tensors);
/* Attention: in a backward pass its gradients. */
clattn_status clattn__layer_add_attention(clattn_layer *layer, clattn__pass pass,
                                          const clattn_attention_desc *desc,
                                          const clattn__tensors *tensors);
/* A linear operation. One that reads weights reads them from the tensor of PACKED_W where they are
 * packed, and is joined by what packs them. */
clattn_status clattn__layer_add_linear(clattn_layer *layer, clattn__pass pass,
                                       const clattn_linear_desc *desc,
                                       const clattn__tensors *tensors);

/* The slots that restrict who sees whom, of the tensors that `optional` names. */
uint64_t clattn__layer_restrictions(uint64_t optional);

/* In a backward pass: gradient += scratch, `elements` of them, the former of type `dtype`. */
clattn_status clattn__layer_add_up(clattn_layer *layer, clattn_dtype dtype, uint32_t gradient,
                                   uint32_t scratch, int64_t elements);

/* Memory for packed weights, if it isn't there yet. */
clattn_status clattn__layer_reserve_packed(clattn_layer *layer);

/* The pass that runs for `pass`, forward or backward: with packed weights where they are kept. */
clattn__pass clattn__layer_pass(const clattn_layer *layer, clattn__pass pass);

/* Submits a pass. */
clattn_status clattn__layer_submit(clattn_layer *layer, clattn__pass pass,
                                   clattn_dispatcher *dispatcher,
                                   const clattn_layer_binding *bindings, uint32_t count,
                                   clattn_event **event);

/* Name of a public tensor, "WQ"; NULL for a number that is none. */
const char *clattn__layer_tensor_name(uint32_t tensor);

/* Layers of src/layer, made of descriptions that api has copied. */
clattn_status clattn__multi_head_create(clattn_context *context, const clattn_multi_head_desc *desc,
                                        clattn_layer **layer);
clattn_status clattn__multiplicative_create(clattn_context *context,
                                            const clattn_multiplicative_desc *desc,
                                            clattn_layer **layer);
clattn_status clattn__additive_layer_create(clattn_context *context,
                                            const clattn_additive_layer_desc *desc,
                                            clattn_layer **layer);

#endif
