/* GRAD_K and GRAD_V of additive attention for devices whose work-items are lanes, and the tile's
 * part of what parameters get: a group does BLOCK_M keys of a head, and goes through the queries;
 * how, is in tile_additive_gradient.h.
 *
 * Values are done DIM_MAX dimensions at a time. Their sums are a work-item's own, too, and behind
 * those of channels in the tile's memory: (value_dim / DIM_MAX, ROWS, VALUE_COLS, WG_SIZE) vectors,
 * so that work-items have neighbours. */
#define KEYS_ARE_ROWS 1
#include "common/tile_additive_gradient.h"

#if VALUE_KEYS != BLOCK_N
#error "slices have no room for DIM_MAX dimensions of BLOCK_N queries"
#endif

/* ---- values ---------------------------------------------------------------------------------- */

INLINE void load_sums(const tile *x, __global const float *from, sums *of)
{
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < VALUE_COLS; c++)
            of->o[r][c] = load_vector(from + ((r * VALUE_COLS + c) * WG_SIZE + x->me) * VEC);
}

INLINE void store_sums(const tile *x, const sums *of, __global float *to)
{
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < VALUE_COLS; c++)
            store_vector(of->o[r][c], to + ((r * VALUE_COLS + c) * WG_SIZE + x->me) * VEC);
}

/* Weights in p times GRAD_OUT, for all dimensions; `first`: sums begin. Begins behind a barrier,
 * and ends with one. */
INLINE void add_queries_values(tile *x, int dim, int first, __global float *memory)
{
    for (int d = 0; d < dim; d += DIM_MAX) {
        __global float *own = memory + (long)d * BLOCK_M;
        sums dv;
        x->value_begin = d;
        stage_values(x, OF_VALUES, 0, 0, x->columns);
        barrier(CLK_LOCAL_MEM_FENCE);
        clear_sums(&dv);
        if (!first)
            load_sums(x, own, &dv);
        add_values(x, x->p, x->columns, &dv);
        store_sums(x, &dv, own);
    }
    x->value_begin = 0;
}

/* The work-item's rows of GRAD_V, of which `count` are written; 0 if nothing is `there`. */
INLINE void write_values(const tile *x, __global const float *memory, int there, int begin,
                         int count, __global void *grad_v)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_GRAD_V];
    const long at =
        tensor_begin(x->row, x->base, CLATTN_T_GRAD_V, x->batch, x->head) + begin * t->stride[2];
#pragma unroll 1
    for (int d = 0; d < x->row->value_dim; d += DIM_MAX) {
        sums dv;
        clear_sums(&dv);
        if (there)
            load_sums(x, memory + (long)d * BLOCK_M, &dv);
#pragma unroll 1
        for (int n = 0; n < ROWS; n++)
            if (x->y * ROWS + n < count)
                write_row_of(x, &dv, n, 1.0f, grad_v,
                             at + (x->y * ROWS + n) * t->stride[2] + d * t->stride[3], t->stride[3],
                             x->row->value_dim - d, x->row->dtype[CLATTN_T_GRAD_V]);
    }
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* What keys, values and w_score get of the block of queries from x->first on. dims:
 * the channels, 0: GRAD_V alone is wanted; values: the dimensions of GRAD_V, 0: it isn't. */
INLINE void add_queries(tile *x, const pairs *of, const channels *of_scores, int begin, int end,
                        __global const float *gradient_rows, int dims, int values,
                        __global float *memory)
{
    run all = run_init();
    all.end = end;
    find_gradient_queries(x, of, gradient_rows);
    barrier(CLK_LOCAL_MEM_FENCE);
    score_block(x, of_scores, begin);
    product_block(x, OF_VALUES, begin, x->ds);
    barrier(CLK_LOCAL_MEM_FENCE);
    mask_block(x, of, begin);
    turn_block(x, of, &all, begin, 1);
    barrier(CLK_LOCAL_MEM_FENCE);
    add_channels(x, of_scores, x->ds, begin, x->columns, dims, x->first == 0, memory);
    add_queries_values(x, values, x->first == 0, memory + (long)x->row->head_dim * SUM_STEP);
}

/* The tile's parts of GRAD_W_SCORE and GRAD_CHANNEL_BIAS, (2, padded channels). */
INLINE void write_parts(const tile *x, const channels *of, __global const float *memory, int there,
                        __global float *to)
{
    const int dim = x->row->head_dim;
#pragma unroll 1
    for (int c = x->me; c < dim; c += WG_SIZE) {
        __global const float *own = memory + (long)c * SUM_STEP;
        const float w = parameter_of(x, of->w_score, CLATTN_T_W_SCORE, c);
        float2 sum = (float2)(0.0f);
#pragma unroll 1
        for (int r = 0; r < (there ? ROW_VECTORS : 0); r++) {
            const float4 k = load_vector(own + r * VEC);
            sum.s0 += own[BLOCK_M + r];
            sum.s1 += (by_weight(k.s0, w) + by_weight(k.s1, w)) +
                      (by_weight(k.s2, w) + by_weight(k.s3, w));
        }
        to[c] = sum.s0;
        to[CLATTN_ADDITIVE_CHANNELS(dim) + c] = sum.s1;
    }
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
additive_keys_tile(ADDITIVE_GRADIENT_PARAMETERS, __global const float *gradient_rows,
                   __global float *block, __global float *additive_sums, __global void *grad_k,
                   __global void *grad_v, OPTION_PARAMETERS, const clattn_base base,
                   __global const clattn_problem_row *rows, __global const clattn_work_item *items,
                   uint first, uint count)
{
    GRADIENT_ARRAYS;
    ADDITIVE_ARRAYS;
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        __global const clattn_problem_row *row = &rows[item.row];
        __global const void *past_k = 0, *past_v = 0; /* there are no such keys */
        const channels of_scores = {w_score, channel_bias, slice_w, slice_bias, slice_forms};
        const uint by_score = CLATTN_G_K | CLATTN_G_W_SCORE | CLATTN_G_CHANNEL_BIAS;
        const int dims = row->gradients & by_score ? row->head_dim : 0;
        const int values = row->gradients & CLATTN_G_V ? row->value_dim : 0;
        const int written = item.k_end - item.k_begin;
        __global float *memory = block + tensor_start(row, &base, CLATTN_T_ADDITIVE_BLOCK) +
                                 item.number * row->tensor[CLATTN_T_ADDITIVE_BLOCK].stride[4];
        tile x = TILE_OF(item.batch, item.head, item.head, 0);
        GRADIENT_OF_ARRAYS(x);
        const pairs all = pairs_of_row(&x, 0);
        const int end = min(item.k_end, all.keys.count);
        x.rows = end - item.k_begin;
        place_item(&x);
        find_keys(&x, item.k_begin, end);
        if (x.me == 0)
            *x.odd = 0;
        barrier(CLK_LOCAL_MEM_FENCE);
        const int most = x.rows > 0 ? x.queries.count : 0;
        for (int left = most; left > 0; left -= BLOCK_N) {
            x.first = most - left;
            x.columns = min(BLOCK_N, left);
            add_queries(&x, &all, &of_scores, item.k_begin, end, gradient_rows, dims, values,
                        memory);
        }
        barrier(CLK_GLOBAL_MEM_FENCE);
        if (row->gradients & CLATTN_G_K)
            write_channels(&x, &of_scores, memory, most > 0, CLATTN_T_GRAD_K, item.k_begin, written,
                           grad_k);
        if (row->gradients & CLATTN_G_V)
            write_values(&x, memory + (long)row->head_dim * SUM_STEP, most > 0, item.k_begin,
                         written, grad_v);
        if (row->gradients & (CLATTN_G_W_SCORE | CLATTN_G_CHANNEL_BIAS))
            write_parts(
                &x, &of_scores, memory, most > 0,
                additive_sums +
                    tensor_begin(row, &base, CLATTN_T_ADDITIVE_SUMS, item.batch, item.head) +
                    item.k_begin / BLOCK_M * row->tensor[CLATTN_T_ADDITIVE_SUMS].stride[2]);
    }
}
