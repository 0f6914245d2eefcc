/* GRAD_Q of additive attention for devices whose work-items are lanes: a group does BLOCK_M queries
 * of a head, and goes through the keys; how, is in tile_additive_gradient.h. */
#include "common/tile_additive_gradient.h"

/* The keys from `start` on and before `end`. */
INLINE void add_keys(const tile *x, const pairs *of, const channels *of_scores, int start, int end,
                     __global float *memory)
{
    run all = run_init();
    all.end = end;
    find_keys(x, start, end);
    barrier(CLK_LOCAL_MEM_FENCE);
    score_block(x, of_scores, start);
    product_block(x, OF_VALUES, start, x->ds);
    barrier(CLK_LOCAL_MEM_FENCE);
    mask_block(x, of, start);
    turn_block(x, of, &all, start);
    barrier(CLK_LOCAL_MEM_FENCE);
    add_channels(x, of_scores, x->p, start, min(BLOCK_N, end - start), x->row->head_dim, start == 0,
                 memory);
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
additive_queries_tile(ADDITIVE_GRADIENT_PARAMETERS, __global const float *gradient_rows,
                      __global float *block, __global void *grad_q, OPTION_PARAMETERS,
                      const clattn_base base, __global const clattn_problem_row *rows,
                      __global const clattn_work_item *items, uint first, uint count)
{
    GRADIENT_ARRAYS;
    ADDITIVE_ARRAYS;
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        __global const clattn_problem_row *row = &rows[item.row];
        __global const void *past_k = 0, *past_v = 0; /* there are no such keys */
        const channels of_scores = {w_score, channel_bias, slice_w, slice_bias, slice_forms};
        __global float *memory = block + tensor_start(row, &base, CLATTN_T_ADDITIVE_BLOCK) +
                                 item.number * row->tensor[CLATTN_T_ADDITIVE_BLOCK].stride[4];
        tile x = TILE_OF(item.batch, item.head, item.head, item.q_begin);
        GRADIENT_OF_ARRAYS(x);
        x.rows = item.q_end - item.q_begin;
        place_item(&x);
        const pairs all = pairs_of_row(&x, 0);
        find_gradient_queries(&x, &all, gradient_rows);
        barrier(CLK_LOCAL_MEM_FENCE);
        const int end = item.q_begin < x.queries.count ? all.keys.count : 0;
        for (int left = end; left > 0; left -= BLOCK_N)
            add_keys(&x, &all, &of_scores, end - left, end, memory);
        barrier(CLK_GLOBAL_MEM_FENCE);
        write_channels(&x, &of_scores, memory, end > 0, CLATTN_T_GRAD_Q, item.q_begin, x.rows,
                       grad_q);
    }
}
