/* Argument structs shared by host (C11) and kernels (OpenCL C 1.2): fixed widths, 64-bit offsets.
 * Everything that differs between problems sits in a row of a table, everything that differs
 * between work-groups in a work item; a kernel reads both from global memory. */
#ifndef CLATTN_ARGUMENTS_H
#define CLATTN_ARGUMENTS_H

#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)
typedef int clattn_i32;
typedef uint clattn_u32;
typedef long clattn_i64;
#define CLATTN_ASSERT_SIZE(type, bytes) typedef char type##_size[sizeof(type) == (bytes) ? 1 : -1]
#else
#include <stdint.h>
typedef int32_t clattn_i32;
typedef uint32_t clattn_u32;
/* Aligned as the device aligns it, which 32-bit x86 does not do by itself. */
typedef int64_t clattn_i64 __attribute__((aligned(8)));
#define CLATTN_ASSERT_SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type)
#endif

/* Tensors of a problem row: first the slots, with the numbers of clattn_slot, then scratch. */
#define CLATTN_T_Q                 0
#define CLATTN_T_K                 1
#define CLATTN_T_V                 2
#define CLATTN_T_OUT               3
#define CLATTN_T_LSE               4
#define CLATTN_T_WEIGHTS           5
#define CLATTN_T_MASK              6
#define CLATTN_T_BIAS              7
#define CLATTN_T_ALIBI             8
#define CLATTN_T_SINK              9
#define CLATTN_T_Q_LENGTHS         10
#define CLATTN_T_KV_LENGTHS        11
#define CLATTN_T_BLOCK_COUNT       12
#define CLATTN_T_BLOCK_INDEX       13
#define CLATTN_T_PARAMS            14
#define CLATTN_T_SEED              15
#define CLATTN_T_PAST_K            16
#define CLATTN_T_PAST_V            17
#define CLATTN_T_PRESENT_K         18
#define CLATTN_T_PRESENT_V         19
#define CLATTN_T_WEIGHTS_MEAN      20
#define CLATTN_T_WEIGHTS_SUM       21
#define CLATTN_T_SCORES            22
#define CLATTN_T_PARTIAL_OUT       23
#define CLATTN_T_PARTIAL_LSE       24
#define CLATTN_T_GRAD_OUT          25
#define CLATTN_T_GRAD_LSE          26
#define CLATTN_T_GRAD_Q            27
#define CLATTN_T_GRAD_K            28
#define CLATTN_T_GRAD_V            29
#define CLATTN_T_GRAD_BIAS         30
#define CLATTN_T_GRAD_SINK         31
#define CLATTN_T_GRAD_PAST_K       32
#define CLATTN_T_GRAD_PAST_V       33
#define CLATTN_T_PAGES             34
#define CLATTN_T_POSITIONS         35
#define CLATTN_T_ANGLES            36
#define CLATTN_T_INDICES           37
#define CLATTN_T_X                 38
#define CLATTN_T_W                 39
#define CLATTN_T_B                 40
#define CLATTN_T_Y                 41
#define CLATTN_T_PACKED_W          42
#define CLATTN_T_W_SCORE           43
#define CLATTN_T_CHANNEL_BIAS      44
#define CLATTN_T_GRAD_W_SCORE      45
#define CLATTN_T_GRAD_CHANNEL_BIAS 46
#define CLATTN_T_K_SCALES          47
#define CLATTN_T_V_SCALES          48
#define CLATTN_T_RMS_WEIGHT        49
#define CLATTN_T_SHIFTS            50
#define CLATTN_T_TOKEN_POSITIONS   51
#define CLATTN_T_SLOTS             52 /* number of slots */

#define CLATTN_T_K_PANELS      52 /* keys packed by the simd family, see attention/pack_keys.cl */
#define CLATTN_T_V_ROWS        53 /* values as the simd family reads them: V itself, or packed */
#define CLATTN_T_STATS         54 /* (B, H, n_q, 2) maximum and sum of the softmax, sink included */
#define CLATTN_T_GRADIENT_ROWS 55 /* (B, H, n_q, CLATTN_GRADIENT_ROW) see gradient_rows.cl */
#define CLATTN_T_GRADIENT_PARTS                                                                    \
    56 /* (B, H, n_q, vectors of head_dim), stride[4]: a range of keys */
#define CLATTN_T_GRADIENT_BLOCK  57 /* of each item, stride[4] apart: see gradient_simd.cl */
#define CLATTN_T_GRADIENT_PANELS 58 /* of each item, stride[4] apart: see gradient_bias_simd.cl */
#define CLATTN_T_PARTS           59 /* (B, H, n_q, splits, width + 2), see common/partial.h */
#define CLATTN_T_TOP             60 /* (B, H, n_q, ...) see top_k_reference.cl, top_k_simd.cl */
/* Linear operations are a product of two matrices, see common/product.h. */
#define CLATTN_T_LEFT   61 /* (batch, pieces, rows, depth) */
#define CLATTN_T_RIGHT  62 /* (batch, pieces, columns, depth), or panels */
#define CLATTN_T_RESULT 63 /* (batch, rows, columns) */
#define CLATTN_T_ADDITIVE_BLOCK                                                                    \
    64 /* of each item, stride[4] apart: see additive.h, tile_additive_gradient.h */
#define CLATTN_T_ADDITIVE_ROWS 65 /* (B, H, blocks of queries), the same */
#define CLATTN_T_ADDITIVE_SUMS 66 /* (B, H, ranges of keys, 2 rows of channels) */
/* Of cache/rotary.cl. Where attention rotates its queries, Q is what ROTATED_Q is. */
#define CLATTN_T_PLAIN_Q    67 /* (B, H, n_q, head_dim) the slot Q */
#define CLATTN_T_ROTATED_Q  68 /* the same, F32 scratch or the slot OUT */
#define CLATTN_T_BIAS_PARTS 69 /* (B, H, n_q or n_kv) see gradient_bias_tile.cl */
#define CLATTN_T_COUNT      70

/* Channels of additive attention, rounded up, and floats of a strip of `width` rows of so many, see
 * common/additive.h. */
#define CLATTN_ADDITIVE_CHANNELS(channels) (((channels) + 15) / 16 * 16)
#define CLATTN_ADDITIVE_STRIP(channels, width)                                                     \
    ((channels) * (width)*2 + ((channels) / 4 + 1 + 15) / 16 * 16)

#define CLATTN_GRADIENT_ROW 4 /* shift, normaliser, delta of a query, and one that isn't used */

/* Data types, with the numbers of clattn_dtype. */
#define CLATTN_D_F32  0
#define CLATTN_D_F16  1
#define CLATTN_D_BF16 2
#define CLATTN_D_I8   6
#define CLATTN_D_I4   7

/* Flags of a problem row: slots that take part, and options that are on. */
#define CLATTN_F_LSE             (1u << 0)
#define CLATTN_F_WEIGHTS         (1u << 1)
#define CLATTN_F_MASK            (1u << 2)
#define CLATTN_F_BIAS            (1u << 3)
#define CLATTN_F_ALIBI           (1u << 4)
#define CLATTN_F_SINK            (1u << 5)
#define CLATTN_F_Q_LENGTHS       (1u << 6)
#define CLATTN_F_KV_LENGTHS      (1u << 7)
#define CLATTN_F_BLOCKS          (1u << 8)
#define CLATTN_F_PARAMS          (1u << 9)
#define CLATTN_F_PRESENT_K       (1u << 10)
#define CLATTN_F_PRESENT_V       (1u << 11)
#define CLATTN_F_WEIGHTS_MEAN    (1u << 12)
#define CLATTN_F_WEIGHTS_SUM     (1u << 13)
#define CLATTN_F_SCORES          (1u << 14)
#define CLATTN_F_RAGGED          (1u << 15) /* lengths are cumulative, tokens have no batch */
#define CLATTN_F_SOFTCAP         (1u << 16)
#define CLATTN_F_DROPOUT         (1u << 17)
#define CLATTN_F_WEIGHTS_DROPPED (1u << 18) /* returned weights are those after dropout */
#define CLATTN_F_BOTTOM_RIGHT    (1u << 19) /* add keys - queries to `offset` */
#define CLATTN_F_FUSED           (1u << 21) /* attention packs keys for itself, each item its own */
#define CLATTN_F_FUSED_VALUES    (1u << 22) /* and values */
#define CLATTN_F_STATS           (1u << 20) /* write the softmax's statistics for a later launch */

/* Bits of a problem row's `gradients`: those that are wanted, where there are any; and dimensions
 * of GRAD_BIAS that are summed over: bit CLATTN_G_BIAS_SUM + d. */
#define CLATTN_G_LSE          (1u << 0) /* GRAD_LSE takes part */
#define CLATTN_G_K            (1u << 1)
#define CLATTN_G_V            (1u << 2)
#define CLATTN_G_PAST_K       (1u << 3)
#define CLATTN_G_PAST_V       (1u << 4)
#define CLATTN_G_W_SCORE      (1u << 5)
#define CLATTN_G_CHANNEL_BIAS (1u << 6)
#define CLATTN_G_BIAS_SUM     8

#define CLATTN_F_INDICES         (1u << 23)
#define CLATTN_F_CHANNEL_BIAS    (1u << 24)
#define CLATTN_F_RMS_NORM        (1u << 25) /* rows are RMS normalised, before they are rotated */
#define CLATTN_F_RMS_WEIGHT      (1u << 26)
#define CLATTN_F_POSITIONS       (1u << 27)
#define CLATTN_F_TOKEN_POSITIONS (1u << 28)

/* Bits of a problem row's `product`. */
#define CLATTN_P_ADD        (1u << 0) /* to what is in the result */
#define CLATTN_P_OF_COLUMNS (1u << 1) /* B takes part, an element for each column */
#define CLATTN_P_OF_ROWS    (1u << 2) /* B takes part, an element for each row */
#define CLATTN_P_PANELS     (1u << 3) /* the right matrix is packed already */
#define CLATTN_PANEL        16        /* columns of a panel */

/* Values of `stage`, with the numbers of clattn_score_stage. */
#define CLATTN_STAGE_SCALED  0
#define CLATTN_STAGE_CAPPED  1
#define CLATTN_STAGE_VISIBLE 2
#define CLATTN_STAGE_WEIGHTS 3

#define CLATTN_SPLIT 512 /* keys of a split, counted from key 0: part of the numerics contract */

#define CLATTN_UNLIMITED ((clattn_i64)1 << 40) /* `left` or `right` that hides nothing */

typedef struct clattn_tensor_row {
    clattn_i64 offset;    /* elements, added to the launch's base offset */
    clattn_i64 stride[5]; /* elements, by dimension of the slot's shape; 0 beyond its rank */
} clattn_tensor_row;
CLATTN_ASSERT_SIZE(clattn_tensor_row, 48);

typedef struct clattn_problem_row {
    clattn_tensor_row tensor[CLATTN_T_COUNT];
    /* Key j is visible to query i only if i + o - left <= j <= i + o + right, o = offset, plus
     * keys - queries of the batch entry with CLATTN_F_BOTTOM_RIGHT. */
    clattn_i64 offset, left, right;
    clattn_i32 n_head, n_kv_head, n_q, n_kv, head_dim, value_dim;
    clattn_i32 group;  /* n_head / n_kv_head */
    clattn_i32 n_past; /* of the n_kv keys, those in PAST_K */
    clattn_i32 block_q, block_kv, block_limit;
    clattn_i32 total_q, total_kv; /* ragged: tokens of the tensors */
    clattn_i32 parts;
    clattn_u32 flags; /* CLATTN_F_* */
    clattn_u32 stage; /* of SCORES */
    float scale, softcap, inverse_softcap;
    float kept;            /* factor of the weights that dropout keeps */
    clattn_u32 drop_below; /* random words below it drop their weight */
    clattn_i32 block_rows; /* queries of a block, at most BLOCK_M, in the simd family */
    clattn_i32 batch;
    clattn_u32 gradients;                      /* CLATTN_G_* */
    clattn_i32 page_size, n_pages, page_limit; /* 0: keys and values aren't in pages */
    clattn_i32 n_positions, n_angles;          /* rotary */
    clattn_i32 top_k;                          /* keys of a query, 0: all */
    clattn_i32 sample;                         /* 1: one of them is drawn */
    clattn_i32 cascade;                        /* 1: batch entries may have the same pages */
    clattn_i32 interleaved;                    /* rotary: pairs are (2i, 2i + 1) */
    clattn_i32 range_keys;                     /* of an item, of gradients */
    clattn_i32 key_block;                      /* keys that it has at a time */
    clattn_i32 rows, columns, pieces, depth;   /* of a product of matrices */
    clattn_u32 product;                        /* CLATTN_P_* */
    clattn_i32 scale_channels;                 /* that share a scale; 0: all of a row */
    float rms_epsilon;                         /* with CLATTN_F_RMS_NORM */
    clattn_u32 dtype[CLATTN_T_COUNT];          /* CLATTN_D_* */
} clattn_problem_row;
CLATTN_ASSERT_SIZE(clattn_problem_row,
                   (CLATTN_T_COUNT * (sizeof(clattn_tensor_row) + 4) + 192 + 7) / 8 * 8);

/* What one work-group does: rows q_begin..q_end-1 of one head against keys k_begin..k_end-1, both
 * by the bounds of the problem; lengths end it earlier. head or batch -1: all of them, one after
 * the other. The packing kernels use only batch, head (a key/value head there), k_begin and k_end.
 */
typedef struct clattn_work_item {
    clattn_i32 batch, head;
    clattn_i32 q_begin, q_end;
    clattn_i32 k_begin, k_end;
    clattn_i32 row;    /* of the problem table */
    clattn_i32 number; /* of the item in its launch's list, from 0 */
} clattn_work_item;
CLATTN_ASSERT_SIZE(clattn_work_item, 32);

/* Where each tensor begins in its memory object, elements. By value. */
typedef struct clattn_base {
    clattn_i64 offset[CLATTN_T_COUNT];
} clattn_base;
CLATTN_ASSERT_SIZE(clattn_base, CLATTN_T_COUNT * sizeof(clattn_i64));

#endif
