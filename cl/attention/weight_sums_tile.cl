/* Weights summed over the queries, for devices whose work-items are lanes: how, is in
 * tile_weights.h. An item is a block of keys of one head, and a group goes through the queries that
 * may see them. A work-item adds up, of 4 keys, every so many queries in ascending order; the
 * group's sums of a key are added at the end. */
#include "common/tile_weights.h"

/* Lines of p that lanes side by side have at a time. */
#define W_LANES (WG_SIZE / W_PIECES)
#if W_LANES * W_PIECES != WG_SIZE || W_LANES > BLOCK_M
#error "WG_SIZE must be a multiple of BLOCK_N / 4, and not more than all vectors"
#endif

/* What the work-item has in p, line after line. */
INLINE float4 add_lines(const tile *x, float4 sum)
{
#pragma unroll 1
    for (uint n = x->me; n < W_VECTORS; n += WG_SIZE)
        sum += LOCAL_VECTOR(x->p + W_LINE(n) * W_STEP + W_PIECE(n));
    return sum;
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
weight_sums_tile(__global const void *q, __global const void *k, __global const void *past_k,
                 __global const float *stats, __global float *weights_sum, OPTION_PARAMETERS,
                 const clattn_base base, __global const clattn_problem_row *rows,
                 __global const clattn_work_item *items, uint first, uint count)
{
    WEIGHTS_ARRAYS;
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        __global const clattn_problem_row *row = &rows[item.row];
        __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_WEIGHTS_SUM];
        tile x = TILE_OF_WEIGHTS(item.batch);
        place_item(&x);
        x.head = item.head;
        x.group = item.head / row->group;
        const pairs of = pairs_of_row(&x, 0);
        const bounds seeing = queries_that_see(&of, item.k_begin, item.k_end);
        float4 sum = 0.0f;
        x.first = seeing.from;
        while (x.first < seeing.to) {
            x.rows = queries_of_list(row, x.first, seeing.to, BLOCK_M);
            find_block(&x, &of, CLATTN_STAGE_WEIGHTS, item.k_begin, 1, &tile_listed, stats);
            show_block(&x, &of, CLATTN_STAGE_WEIGHTS, item.k_begin, &tile_listed);
            sum = add_lines(&x, sum);
            barrier(CLK_LOCAL_MEM_FENCE);
            x.first += x.rows;
        }
        LOCAL_VECTOR(x.p + W_LINE(x.me) * W_STEP + W_PIECE(x.me)) = sum;
        barrier(CLK_LOCAL_MEM_FENCE);
        __global float *to = weights_sum +
                             tensor_begin(row, &base, CLATTN_T_WEIGHTS_SUM, item.batch, item.head) +
                             item.k_begin * t->stride[2];
        for (int j = x.me; j < item.k_end - item.k_begin; j += WG_SIZE) {
            float all = 0.0f;
            for (int n = 0; n < W_LANES; n++)
                all += x.p[n * W_STEP + j];
            to[j * t->stride[2]] = all;
        }
    }
}
