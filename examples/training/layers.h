/* What the models of the examples have in common: parameters, projections, and the way from what
 * attention found to symbols. Forward and backward passes are calls to clattn and small kernels;
 * where a gradient goes back to what it came from is written out in each backward function. */
#ifndef EXAMPLES_TRAINING_LAYERS_H
#define EXAMPLES_TRAINING_LAYERS_H

#include <clattn/layer.h>
#include <stdbool.h>

#include "device.h"

/* ---- parameters ------------------------------------------------------------------------------ */

enum { MOST_PARAMETERS = 24 };

typedef struct parameter {
    const char *name; /* borrowed */
    size_t first, count;
    size_t inputs; /* how many of its numbers are summed into one; 0: it begins with 0, a bias */
} parameter;

/* All parameters of a model lie in one tensor, their gradients alike in another one, so that an
 * optimiser is one launch. */
typedef struct parameters {
    parameter list[MOST_PARAMETERS];
    size_t list_count;
    size_t count; /* elements of each tensor */
    tensor value; /* these once parameters_create was called */
    tensor gradient;
    tensor average[2]; /* of the optimiser's */
} parameters;

/* Makes room; returns where it is, to be used as element of `value` and `gradient`. */
size_t parameters_add(parameters *p, const char *name, size_t rows, size_t columns, size_t inputs);
/* Random numbers of variance 1 / inputs. */
void parameters_create(parameters *p, device *d, uint64_t seed);
/* How many numbers there are to learn: `count` without what alignment adds. */
size_t parameters_number(const parameters *p);
void parameters_destroy(parameters *p, device *d);

/* For layers of clattn. */
clattn_layer_binding bind_tensor(clattn_layer_tensor role, const tensor *t);
clattn_layer_binding bind_parameter(clattn_layer_tensor role, const tensor *t, size_t first);

/* ---- projections ----------------------------------------------------------------------------- */

/* y = x W^T + b, and its gradients. */
typedef struct dense {
    device *device;               /* borrowed */
    const parameters *parameters; /* borrowed */
    clattn_plan *plan[3];         /* by clattn_linear_pass; NULL: not for this one */
    size_t w, b;                  /* parameters */
    bool has_bias;
} dense;

/* `desc` is that of the forward pass, whatever it says of `pass`; with B in `slots` there is a
 * bias. An x with strides is taken for data, which has no gradient. `inputs` as in struct
 * parameter. */
void dense_create(dense *l, device *d, parameters *p, const char *name,
                  const clattn_linear_desc *desc, size_t inputs);
void dense_destroy(dense *l);
void dense_forward(const dense *l, const tensor *x, const tensor *y);
/* Of the parameters, and of x unless dx is NULL. */
void dense_backward(const dense *l, const tensor *x, const tensor *dy, const tensor *dx);

/* ---- from what attention found to symbols ---------------------------------------------------- */

/* logits = W tanh(V context + P position + b) + c, for each of `outputs` positions. */
typedef struct head {
    device *device;
    dense from_context, from_position, to_symbols;
    tensor hidden, grad_hidden; /* (batch, outputs, width) */
} head;

typedef struct head_shape {
    int64_t batch, outputs, context, width, symbols;
} head_shape;

void head_create(head *h, device *d, parameters *p, const head_shape *shape);
void head_destroy(head *h);
/* context (batch, outputs, context), position (batch, outputs, outputs), which is one-hot, logits
 * (batch, outputs, symbols). */
void head_forward(const head *h, const tensor *context, const tensor *position,
                  const tensor *logits);
void head_backward(const head *h, const tensor *context, const tensor *position,
                   const tensor *grad_logits, const tensor *grad_context);

#endif
