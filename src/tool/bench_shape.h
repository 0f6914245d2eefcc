/* The shapes that clattn bench measures: from --shape, from suites, and what each of them counts.
 */
#ifndef CLATTN_TOOL_BENCH_SHAPE_H
#define CLATTN_TOOL_BENCH_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <clattn/clattn.h>

/* Storage of K and V. The choice of --dtype. */
#define BENCH_DTYPE_NAMES "f32"
typedef struct bench_dtype {
    const char *name;
    clattn_dtype dtype;
    uint32_t bytes; /* of an element */
} bench_dtype;
/* `choice` as of OPTION_CHOICE; 0 is f32. */
const bench_dtype *bench_dtype_get(int choice);

/* Forward attention; value_dim is head_dim, causal is aligned bottom-right. */
typedef struct bench_shape {
    int64_t batch, n_head, n_kv_head, n_q, n_kv, head_dim; /* each at least 1 */
    bool causal;
} bench_shape;

#define BENCH_SHAPE_FORM "B,H,HKV,SQ,SK,D[,causal]"

/* "1,8,8,512,512,64,1". On failure prints one line and returns false. */
bool bench_shape_parse(const char *text, bench_shape *shape);
/* The same text of a shape, for messages. */
void bench_shape_print(const bench_shape *shape, char *text, size_t capacity);
void bench_shape_describe(const bench_shape *shape, const bench_dtype *dtype,
                          clattn_attention_desc *desc);

/* One query a sequence: bound by reading K and V, not by arithmetic. */
bool bench_shape_is_decode(const bench_shape *shape);
/* 2 * visible pairs * (head_dim + value_dim). */
double bench_shape_operations(const bench_shape *shape);
/* Bytes of K and V, counted once. */
double bench_shape_kv_bytes(const bench_shape *shape, const bench_dtype *dtype);

/* Tensors of a shape, in the order Q, K, V, OUT (the values of clattn_slot). */
#define BENCH_TENSORS 4
/* Elements, as a double: extents of 2^31 overflow nothing. */
double bench_shape_elements(const bench_shape *shape, clattn_slot slot);

/* A list to which --suite and --shape add. */
typedef struct bench_list {
    bench_shape *shape; /* (count), owned */
    uint32_t count;
} bench_list;

/* false where no memory is left. */
bool bench_list_add(bench_list *list, const bench_shape *shape);
void bench_list_finish(bench_list *list);

/* The choice of --suite: 1, 2, ... in the order of the names. */
#define BENCH_SUITE_NAMES "short|prefill|all"
enum { BENCH_SUITE_NONE, BENCH_SUITE_SHORT, BENCH_SUITE_PREFILL, BENCH_SUITE_ALL };

/* Adds the shapes of a suite. false where no memory is left. */
bool bench_list_add_suite(bench_list *list, int suite);

#endif
