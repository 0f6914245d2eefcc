/* Attention for devices whose work-items are lanes: a group does BLOCK_M queries of a head; how, is
 * in tile.h. Queries, keys and values are read from where the caller has them, of any type and
 * stride. */
#include "common/tile_attention.h"

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
attention_tile(__global const void *q, __global const void *k, __global const void *past_k,
               __global const void *v, __global const void *past_v, __global void *out,
               __global float *lse, __global float *stats, __global const float *sink,
               OPTION_PARAMETERS, const clattn_base base, __global const clattn_problem_row *rows,
               __global const clattn_work_item *items, uint first, uint count)
{
    TILE_ARRAYS(STAGE, G_LINES);
    SOFTMAX_ARRAYS;
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        __global const clattn_problem_row *row = &rows[item.row];
        results of;
        tile x = TILE_OF(item.batch, item.head / row->group, item.head, item.q_begin);
        x.parts = tile_parts;
        x.factors = tile_factors;
        x.packed = 0;
        x.rows = item.q_end - item.q_begin;
        begin_tile(&x, &of);
        const pairs all = pairs_of_row(&x, 0);
        const int last = min(item.q_end, x.queries.count) - 1;
        const int from = keys_from(&all, item.q_begin);
        const int to = item.q_begin <= last ? keys_to(&all, last) : from;
        attend_keys(&x, &all, from, to, &of);
        const float logit = sink_of(&all, &base, sink, item.q_begin + x.own);
        const softmax_end end = softmax_finish(of.m, sum_of_parts(&x, of.l), logit);
        if (x.part == 0) {
            x.factors[x.own] = end.factor;
            if (is_written(&x, x.own))
                write_sums(&x, end, lse, stats);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        write_queries(&x, &of.of, x.factors, CLATTN_T_OUT, row->value_dim, out);
    }
}
