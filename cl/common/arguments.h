/* Argument structs shared by host (C11) and kernels (OpenCL C 1.2): fixed widths, 64-bit offsets.
 * Everything that differs between problems sits in a row of a table, everything that differs
 * between work-groups in a work item; a kernel reads both from global memory. */
#ifndef CLATTN_ARGUMENTS_H
#define CLATTN_ARGUMENTS_H

#ifdef __OPENCL_VERSION__
typedef int clattn_i32;
typedef uint clattn_u32;
typedef long clattn_i64;
#define CLATTN_ASSERT_SIZE(type, bytes) typedef char type##_size[sizeof(type) == (bytes) ? 1 : -1]
#else
#include <stdint.h>
typedef int32_t clattn_i32;
typedef uint32_t clattn_u32;
typedef int64_t clattn_i64;
#define CLATTN_ASSERT_SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type)
#endif

/* Tensors of a problem row: first the slots, with the numbers of clattn_slot, then scratch. */
#define CLATTN_T_Q        0
#define CLATTN_T_K        1
#define CLATTN_T_V        2
#define CLATTN_T_OUT      3
#define CLATTN_T_LSE      4
#define CLATTN_T_WEIGHTS  5
#define CLATTN_T_SLOTS    6 /* number of slots */
#define CLATTN_T_K_PANELS 6 /* keys packed by the simd family, see kernels/attention_simd.c */
#define CLATTN_T_V_ROWS   7 /* values as the simd family reads them: V itself, or packed */
#define CLATTN_T_COUNT    8

/* Flags of a problem row. */
#define CLATTN_F_CAUSAL  1u /* key j visible to query i only if j <= i + causal_offset */
#define CLATTN_F_LSE     2u /* write LSE */
#define CLATTN_F_WEIGHTS 4u /* write WEIGHTS */

typedef struct clattn_tensor_row {
    clattn_i64 offset;    /* elements, added to the launch's base offset */
    clattn_i64 stride[4]; /* elements, by dimension of the slot's shape; 0 beyond its rank */
} clattn_tensor_row;
CLATTN_ASSERT_SIZE(clattn_tensor_row, 40);

typedef struct clattn_problem_row {
    clattn_tensor_row tensor[CLATTN_T_COUNT];
    clattn_i32 n_head, n_kv_head, n_q, n_kv, head_dim, value_dim;
    clattn_i32 causal_offset;
    clattn_u32 flags; /* CLATTN_F_* */
    float scale;
    clattn_i32 group; /* n_head / n_kv_head */
} clattn_problem_row;
CLATTN_ASSERT_SIZE(clattn_problem_row, CLATTN_T_COUNT * 40 + 40);

/* What one work-group does: rows q_begin..q_end-1 of one head against keys k_begin..k_end-1. The
 * packing kernels use only batch, head (a key/value head there), k_begin and k_end. */
typedef struct clattn_work_item {
    clattn_i32 batch, head;
    clattn_i32 q_begin, q_end;
    clattn_i32 k_begin, k_end;
    clattn_i32 row;     /* of the problem table */
    clattn_i32 partial; /* partial result to write, -1: the final one */
} clattn_work_item;
CLATTN_ASSERT_SIZE(clattn_work_item, 32);

/* Where each tensor begins in its memory object, elements. By value. */
typedef struct clattn_base {
    clattn_i64 offset[CLATTN_T_COUNT];
} clattn_base;
CLATTN_ASSERT_SIZE(clattn_base, CLATTN_T_COUNT * 8);

#endif
