/* What the oracles of layers share: projections by tests/oracle, and numbers that pass between
 * their parts. */
#ifndef TESTS_DEVICE_LAYER_PARTS_H
#define TESTS_DEVICE_LAYER_PARTS_H

#include <stddef.h>

#include "layer_oracle.h"

/* (count) zeros, and copies; owned by the caller. */
void *layer_room(int64_t count, size_t size);
float *layer_floats(const double *from, int64_t count);
double *layer_doubles(const float *from, int64_t count);

/* An optional tensor, or a gradient, takes part. */
bool layer_has(const layer_case *c, uint32_t tensor);

/* A projection: tensors of the layer, b and grad_b 0: none. */
typedef struct layer_part {
    int64_t rows, in, out;
    const float *x; /* (batch, rows, in) */
    uint32_t w, b, grad_w, grad_b;
} layer_part;

/* y (batch, rows, out) in double precision; owned by the caller. */
double *layer_project(const layer_case *c, const layer_values *v, const layer_part *p);

/* Adds the gradients of the parameters to what is expected; returns that by x (batch, rows, in),
 * owned by the caller. dy: (batch, rows, out). */
double *layer_project_back(const layer_case *c, layer_values *v, const layer_part *p,
                           const double *dy);

/* to NULL: not wanted. */
void layer_add(double *to, const double *from, int64_t count);

/* Of MASK in a description: (batch, n_head, n_q, n_kv), or one mask for all heads. */
clattn_tensor layer_mask_layout(const layer_case *of);

#endif
