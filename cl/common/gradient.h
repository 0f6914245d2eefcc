/* What kernels for gradients by pairs of queries and keys read. */
#ifndef CLATTN_GRADIENT_H
#define CLATTN_GRADIENT_H

/* Tensors that every such kernel reads, as parameters and arguments of functions. */
#define GRADIENT_PARAMETERS                                                                        \
    __global const void *q, __global const void *k, __global const void *past_k,                   \
        __global const void *v, __global const void *past_v, __global const void *grad_out,        \
        __global const float *gradient_rows
#define GRADIENT_ARGUMENTS q, k, past_k, v, past_v, grad_out, gradient_rows

#endif
