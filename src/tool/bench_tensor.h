/* The tensors of a shape that clattn bench times: how many elements, of what, with what in them. */
#ifndef CLATTN_TOOL_BENCH_TENSOR_H
#define CLATTN_TOOL_BENCH_TENSOR_H

#include "tool/bench_shape.h"

typedef struct bench_tensor {
    clattn_slot slot;
    uint32_t bytes; /* of an element; 0: that of the shape's type */
    /* As a double: extents of 2^31 overflow nothing. */
    double (*elements)(const bench_shape *shape);
    /* Writes `count` elements. */
    void (*fill)(const bench_shape *shape, void *data, uint64_t count);
} bench_tensor;

/* Row by row; NULL from the end on. */
const bench_tensor *bench_tensor_get(uint32_t index);
#define BENCH_TENSORS 23 /* at most */

bool bench_tensor_takes_part(const bench_tensor *tensor, const bench_shape *shape);
uint32_t bench_tensor_element_size(const bench_tensor *tensor, const bench_shape *shape);

/* Writes the layout of tensors that are broadcast, and of pages. */
void bench_tensor_describe(const bench_shape *shape, clattn_attention_desc *desc);

#endif
