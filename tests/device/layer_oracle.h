/* What layers must give, in double precision: projections and attention of tests/oracle one after
 * the other. What passes between them is rounded to float, whose error is far below the bounds. */
#ifndef TESTS_DEVICE_LAYER_ORACLE_H
#define TESTS_DEVICE_LAYER_ORACLE_H

#include <stdbool.h>

#include <clattn/layer.h>

#include "tests/oracle/storage.h"

#define LAYER_TENSORS 34 /* of clattn_layer_tensor */
/* All gradients that a layer without KEY and VALUE can have. */
#define LAYER_GRADIENTS                                                                            \
    (CLATTN_LAYER_BIT(CLATTN_LAYER_GRAD_X) | CLATTN_LAYER_BIT(CLATTN_LAYER_GRAD_WQ) |              \
     CLATTN_LAYER_BIT(CLATTN_LAYER_GRAD_WK) | CLATTN_LAYER_BIT(CLATTN_LAYER_GRAD_WV) |             \
     CLATTN_LAYER_BIT(CLATTN_LAYER_GRAD_WO) | CLATTN_LAYER_BIT(CLATTN_LAYER_GRAD_BQ) |             \
     CLATTN_LAYER_BIT(CLATTN_LAYER_GRAD_BK) | CLATTN_LAYER_BIT(CLATTN_LAYER_GRAD_BV) |             \
     CLATTN_LAYER_BIT(CLATTN_LAYER_GRAD_BO))

/* LAYER_GENERAL: multiplicative attention. */
typedef enum layer_kind { LAYER_MULTI_HEAD, LAYER_GENERAL, LAYER_ADDITIVE } layer_kind;

typedef struct layer_case {
    const char *name;
    layer_kind kind;
    oracle_type type;
    bool cross, causal, interleaved;
    bool bottom_right; /* with causal: the last query sees the last key; else the first the first */
    float dropout;
    float scale; /* 0: the usual one */
    int64_t batch, n_q, n_kv, width, key_width, value_width, n_head, n_kv_head;
    int64_t head_dim, value_dim, rotary_dim;
    int64_t channels;     /* of additive attention */
    int32_t lengths[4];   /* (batch), with KV_LENGTHS in `optional` */
    int32_t q_lengths[4]; /* (batch), with Q_LENGTHS */
    bool mask_for_all_heads;
    uint64_t optional, gradients, accumulate;
    uint32_t seed; /* of the numbers */
} layer_case;

extern const int64_t layer_seed[2];

/* With what 0 stands for. */
layer_case layer_whole(const layer_case *of);

void layer_describe(const layer_case *of, clattn_multi_head_desc *desc);
void layer_describe_general(const layer_case *of, clattn_multiplicative_desc *desc);
void layer_describe_additive(const layer_case *of, clattn_additive_layer_desc *desc);

/* By tensor; NULL: takes no part. Contiguous. */
typedef struct layer_values {
    int64_t count[LAYER_TENSORS];
    float *in[LAYER_TENSORS];        /* inputs, and gradients to add to, as the type stores them */
    double *expected[LAYER_TENSORS]; /* results */
    uint8_t *mask, *mask_in;         /* (batch, n_head, n_q, n_kv), and as it lies in memory */
    int64_t mask_count;              /* of the latter */
} layer_values;

/* Computes what is expected, forward and backward, of a case that layer_whole has made. Gradients
 * are added to what is there. */
void layer_expect(const layer_case *c, layer_values *v);
void layer_expect_additive(const layer_case *c, layer_values *v);

void layer_values_make(const layer_case *of, layer_values *values);
void layer_values_free(layer_values *values);

#endif
