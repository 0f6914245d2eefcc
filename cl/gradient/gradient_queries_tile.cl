/* GRAD_Q for devices whose work-items are lanes: a group does BLOCK_M queries of a head, and goes
 * through the keys that they see; how, is in tile_gradient.h. */
#include "common/tile_gradient.h"

/* The keys from w->start on, of the run that the walk is in. */
INLINE void add_keys(const tile *x, const pairs *of, const walk *w, sums *dq)
{
    find_keys(x, w->start, w->r.end);
    barrier(CLK_LOCAL_MEM_FENCE);
    product_blocks(x, w->start, 2);
    barrier(CLK_LOCAL_MEM_FENCE);
    turn_block(x, of, &w->r, w->start);
    barrier(CLK_LOCAL_MEM_FENCE);
    sum_block(x, x->p, OF_SCORES, w->start, min(BLOCK_N, w->r.end - w->start), dq);
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
gradient_queries_tile(GRADIENT_PARAMETERS, __global void *grad_q, OPTION_PARAMETERS,
                      const clattn_base base, __global const clattn_problem_row *rows,
                      __global const clattn_work_item *items, uint first, uint count)
{
    GRADIENT_ARRAYS;
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        __global const clattn_problem_row *row = &rows[item.row];
        sums dq;
        tile x = TILE_OF(item.batch, item.head / row->group, item.head, item.q_begin);
        GRADIENT_OF_ARRAYS(x);
        x.rows = item.q_end - item.q_begin;
        place_item(&x);
        clear_sums(&dq);
        const pairs all = pairs_of_row(&x, 0);
        find_gradient_queries(&x, &all, gradient_rows);
        if (x.me == 0)
            *x.odd = 0;
        barrier(CLK_LOCAL_MEM_FENCE);
        const int last = min(item.q_end, x.queries.count) - 1;
        const int from = keys_from(&all, item.q_begin);
        const int to = item.q_begin <= last ? keys_to(&all, last) : from;
        walk w = walk_init(&x, from, to);
        while (w.start < w.to) {
            add_keys(&x, &all, &w, &dq);
            next_block(&x, &w);
        }
        write_queries(&x, &dq, 0, CLATTN_T_GRAD_Q, row->head_dim, grad_q);
    }
}
