/* The shapes that clattn bench measures: from --shape, from suites, and what each of them counts.
 */
#ifndef CLATTN_TOOL_BENCH_SHAPE_H
#define CLATTN_TOOL_BENCH_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <clattn/layer.h>

#include "tool/bench_feature.h"
#include "tool/stored_type.h"

/* A linear projection, not attention: of batch * n_q rows, n_kv wide, to head_dim columns. */
typedef enum bench_linear {
    BENCH_ATTENTION,
    BENCH_LINEAR,
    BENCH_LINEAR_X, /* its gradient by x */
    BENCH_LINEAR_W  /* its gradients by W and b */
} bench_linear;

/* Attention or its gradients by Q, K and V; value_dim is head_dim, causal is aligned bottom-right.
 * Additive attention has head_dim channels, and gradients by W_SCORE, too. */
typedef struct bench_shape {
    int64_t batch, n_head, n_kv_head, n_q, n_kv, head_dim; /* each at least 1 */
    bool causal, backward, additive;
    bench_linear linear;
    const bench_feature *feature; /* NULL: plain attention */
    const stored_type *type;      /* of Q, K, V and OUT */
} bench_shape;

#define BENCH_SHAPE_FORM "B,H,HKV,SQ,SK,D[,causal]"

/* "1,8,8,512,512,64,1"; without feature and type. On failure prints one line and returns false. */
bool bench_shape_parse(const char *text, bench_shape *shape);
/* Sets both; a feature's own type wins. */
void bench_shape_set_feature(bench_shape *shape, const bench_feature *feature,
                             const stored_type *type);
/* The same text of a shape, and its feature, for messages. */
void bench_shape_print(const bench_shape *shape, char *text, size_t capacity);
/* "attention", "attention+mask", "gradient", "gradient+mask", "linear", "linear_x", "linear_w",
 * "additive", "additive_gradient" */
void bench_shape_operation(const bench_shape *shape, char *text, size_t capacity);
/* How keys and values are stored: "f32", "int8". */
const char *bench_shape_dtype(const bench_shape *shape);
void bench_shape_describe(const bench_shape *shape, clattn_attention_desc *desc);
void bench_shape_describe_linear(const bench_shape *shape, clattn_linear_desc *desc);
void bench_shape_describe_additive(const bench_shape *shape, clattn_additive_desc *desc);
/* Slots of additive attention that take part, those of `desc->slots` and the others. */
uint64_t bench_shape_additive_slots(const bench_shape *shape);
/* Of the feature that has it: as many tokens as there are queries. */
void bench_shape_describe_append(const bench_shape *shape, clattn_append_desc *desc);

/* The contents of a mask, and of the lengths of keys: three quarters, a half, a quarter, all;
 * uneven: from 1 to all, in steps of equal size, long ones between short ones. */
bool bench_shape_mask(uint64_t i, uint64_t j);
int64_t bench_shape_length(const bench_shape *shape, int64_t b);

/* Pages of BENCH_PAGE tokens that a batch entry has room for; 0 where keys and values aren't in
 * pages. */
#define BENCH_PAGE 16
int64_t bench_shape_pages(const bench_shape *shape);
/* Those of the batch entries before b, as many as their lengths take. */
int64_t bench_shape_first_page(const bench_shape *shape, int64_t b);
/* Positions that queries may have, and more. */
int64_t bench_shape_positions(const bench_shape *shape);

/* One query a sequence: bound by reading K and V, not by arithmetic. */
bool bench_shape_is_decode(const bench_shape *shape);
/* 2 * visible pairs * (head_dim + value_dim); of gradients 2.5 times that: five products, not two.
 * Of linear projections 2 * rows * in * out. Of additive attention, without divisions, 7.5 a pair
 * and channel and 2 a pair and value, of its gradients 21.5 and 4. */
double bench_shape_operations(const bench_shape *shape);
/* Bytes of K and V within the lengths, counted once. */
double bench_shape_kv_bytes(const bench_shape *shape);

/* A list to which --suite and --shape add. */
typedef struct bench_list {
    bench_shape *shape; /* (count), owned */
    uint32_t count;
} bench_list;

/* false where no memory is left. */
bool bench_list_add(bench_list *list, const bench_shape *shape);
void bench_list_finish(bench_list *list);

/* The choice of --suite: 1, 2, ... in the order of the names. */
#define BENCH_SUITE_NAMES "short|prefill|features|backward|decode|linear|additive|all|dispatch"
enum {
    BENCH_SUITE_NONE,
    BENCH_SUITE_SHORT,
    BENCH_SUITE_PREFILL,
    BENCH_SUITE_FEATURES,
    BENCH_SUITE_BACKWARD,
    BENCH_SUITE_DECODE,
    BENCH_SUITE_LINEAR,
    BENCH_SUITE_ADDITIVE,
    BENCH_SUITE_ALL,     /* of shapes */
    BENCH_SUITE_DISPATCH /* not of shapes: bench_dispatch.h */
};

/* Adds the shapes of a suite, in this type. false where no memory is left. */
bool bench_list_add_suite(bench_list *list, int suite, const stored_type *type);

#endif
