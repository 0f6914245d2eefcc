/* What layers must give, in double precision: projections and attention of tests/oracle one after
 * the other. What passes between them is rounded to float, whose error is far below the bounds. */
#ifndef TESTS_DEVICE_LAYER_ORACLE_H
#define TESTS_DEVICE_LAYER_ORACLE_H

#include <stdbool.h>

#include <clattn/layer.h>

#include "tests/oracle/storage.h"

#define LAYER_TENSORS 31 /* of clattn_layer_tensor */

typedef struct layer_case {
    const char *name;
    oracle_type type;
    bool general; /* multiplicative attention, not multi-head */
    bool cross, causal, interleaved;
    float dropout;
    int64_t batch, n_q, n_kv, width, key_width, value_width, n_head, n_kv_head;
    int64_t head_dim, value_dim, rotary_dim;
    int32_t lengths[4]; /* (batch), with KV_LENGTHS in `optional` */
    uint64_t optional, gradients, accumulate;
} layer_case;

extern const int64_t layer_seed[2];

void layer_describe(const layer_case *of, clattn_multi_head_desc *desc);
void layer_describe_general(const layer_case *of, clattn_multiplicative_desc *desc);

/* By tensor; NULL: takes no part. Contiguous. */
typedef struct layer_values {
    int64_t count[LAYER_TENSORS];
    float *in[LAYER_TENSORS];        /* inputs, and gradients to add to, as the type stores them */
    double *expected[LAYER_TENSORS]; /* results */
} layer_values;

void layer_values_make(const layer_case *of, layer_values *values);
void layer_values_free(layer_values *values);

#endif
